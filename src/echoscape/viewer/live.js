// The page of a service: asks for the scene, follows the fixes, and asks again when the map changes.
"use strict";

function halfAxes(covariance) {  // of the ellipsoid of 90 %, by Jacobi's rotations
  const a = covariance.map((row) => row.slice()), v = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  for (let turn = 0; turn < 30; turn++) {
    const [p, q] = [[0, 1], [0, 2], [1, 2]][turn % 3];
    if (Math.abs(a[p][q]) < 1e-12) continue;
    const angle = 0.5 * Math.atan2(2 * a[p][q], a[q][q] - a[p][p]), c = Math.cos(angle), s = Math.sin(angle);
    for (const m of [a, v]) for (const row of m) [row[p], row[q]] = [c * row[p] - s * row[q], s * row[p] + c * row[q]];
    [a[p], a[q]] = [a[p].map((x, k) => c * x - s * a[q][k]), a[q].map((x, k) => s * a[p][k] + c * x)];
  }
  return [0, 1, 2].flatMap((k) => v.map((row) => 2.5003 * Math.sqrt(Math.max(a[k][k], 0)) * row[k]));
}

(async () => {
  const $ = (id) => document.getElementById(id);
  const problem = (text) => { $("problem").textContent = text; $("problem").hidden = !text; };
  const said = new URLSearchParams(location.hash.slice(1)).get("token");
  if (said) { sessionStorage.setItem("token", said); history.replaceState(null, "", location.pathname); }
  const token = sessionStorage.getItem("token");
  if (!token) { problem("A token is needed: open the address that `echoscape serve` printed."); return; }
  const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  const ask = (path) => fetch(path, { headers: { Authorization: `Bearer ${token}` } });

  let scene = null;
  while (!scene) {
    try {
      const answer = await ask("v1/scene"), found = await answer.json();
      if (answer.ok) scene = found; else { problem(found.detail); if (answer.status === 401) return; }
    } catch { problem("The service does not answer; start it again."); }
    if (!scene) await pause(3);
  }
  problem("");
  openPage(scene, (place) => ask(`v1/place?${place}`), true);
  const page = window.echoscape, kept = sessionStorage.getItem("camera");
  if (kept) { Object.assign(page.camera, JSON.parse(kept)); page.draw(); }

  const renew = () => {  // the same view of what is known now
    const { azimuth, elevation, distance, at } = page.camera;
    sessionStorage.setItem("camera", JSON.stringify({ azimuth, elevation, distance, at }));
    location.reload();
  };
  const MOST = 300;  // fixes that stay on the page
  const follow = ({ map, version, fixes }) => {
    if (!scene.maps.includes(`${map} ${version}`)) return renew();
    for (const fix of fixes) {
      for (const [rank, { position, covariance, probability }] of fix.places.entries())
        scene.fixes.push({ target: fix.target, rank, status: fix.status, position, axes: halfAxes(covariance), probability });
    }
    scene.fixes.splice(0, scene.fixes.length - MOST);
    page.renew("Fixes");
  };
  for (;;) {
    try {
      const answer = await ask("v1/events"), reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        const parts = text.split("\n\n");
        text = parts.pop();
        for (const part of parts) {
          const data = part.match(/^event: (\w+)\ndata: (.*)$/);
          if (data?.[1] === "map") renew();
          if (data?.[1] === "fixes") follow(JSON.parse(data[2]));
        }
      }
    } catch { /* said below */ }
    problem("The service does not answer; start it again.");
    await pause(3);
    try { if ((await ask("v1/health")).ok) renew(); } catch { /* still away */ }
  }
})();

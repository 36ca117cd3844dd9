// The page round the scene: camera, layers, time, picking, keys.  Draws a frame only when something changed.
"use strict";

function openPage(scene, ask, follows) {  // ask: what the server predicts at a place; follows: fixes will come
  const started = performance.now();
  const $ = (id) => document.getElementById(id);
  const element = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text ?? "", ...more });
  const canvas = $("view"), root = document.documentElement;
  const problem = (text) => { $("problem").textContent = text; $("problem").hidden = !text; };
  const renderer = makeRenderer(canvas);
  if (!renderer) { problem("This browser offers no WebGL 2; switch hardware acceleration on, or use another browser."); return; }

  document.title = scene.title;
  document.querySelector("h1").textContent = scene.title;
  const middle = scene.lower.map((low, i) => (low + scene.upper[i]) / 2);
  const reach = Math.max(Math.hypot(...scene.lower.map((low, i) => scene.upper[i] - low)), 1);
  const times = scene.tracks.flatMap((t) => [t.time[0], t.time[t.time.length - 1]]);
  const [first, last] = times.length ? [Math.min(...times), Math.max(...times)] : [0, 0];
  scene.now = last;
  const { layers, drawPicked } = makeLayers(scene, renderer, middle, follows);
  const camera = makeCamera();
  const state = { dark: matchMedia("(prefers-color-scheme: dark)").matches, spot: null, forecast: null, extra: [], frames: 0 };

  // ---- drawing
  let asked = false;
  const draw = () => { if (!asked) { asked = true; requestAnimationFrame(frame); } };
  const look = () => state.dark
    ? { dark: true, wall: [0.36, 0.4, 0.45], edge: [150, 162, 174], background: [0.078, 0.094, 0.114], rim: [0.08, 0.1, 0.12] }
    : { dark: false, wall: [0.86, 0.88, 0.9], edge: [70, 80, 90], background: [0.957, 0.965, 0.973], rim: [1, 1, 1] };
  let view = null;

  function frame() {
    asked = false;
    const dpr = Math.min(devicePixelRatio || 1, 2);
    const [wide, high] = [Math.round(innerWidth * dpr), Math.round(innerHeight * dpr)];
    if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
    const eye = camera.eye();
    const box = $("panel").getBoundingClientRect(), below = innerWidth <= 640;
    camera.frame(innerWidth, innerHeight, 0, below ? 60 : 0,
      below || $("panel").classList.contains("folded") ? innerWidth : box.left, below ? box.top : innerHeight);
    view = { matrix: camera.matrix(reach), dpr, eye, ...look() };
    renderer.render(view, [...layers.filter((l) => l.on).flatMap((l) => l.items), ...state.extra]);
    for (const { mark, place } of labels) {
      const p = project(place);
      mark.hidden = !p || !layers.some((l) => l.on && l.name === "Stations");
      if (p) { mark.style.left = `${p[0]}px`; mark.style.top = `${p[1]}px`; }
    }
    $("north").querySelector("g").setAttribute("transform", `rotate(${(camera.azimuth * 180 / Math.PI + 90)})`);
    const metre = camera.focal / camera.distance;
    const whole = 10 ** Math.floor(Math.log10(110 / metre)), round = [5, 2, 1].find((k) => k * whole * metre <= 110) * whole;
    $("scale").firstElementChild.textContent = round >= 1000 ? `${round / 1000} km` : `${short(round)} m`;
    $("scale").lastElementChild.style.width = `${round * metre}px`;
    if (++state.frames === 1) { renderer.gl.finish(); root.dataset.ready = Math.round(performance.now() - started); }
  }

  function project(place) {  // place [m] to the window [px], with the distance
    const p = [0, 1, 2].map((i) => place[i] - middle[i]), m = view.matrix;
    const [x, y, , w] = [0, 1, 2, 3].map((row) => m[row] * p[0] + m[4 + row] * p[1] + m[8 + row] * p[2] + m[12 + row]);
    if (w <= 0) return null;
    return [(x / w + 1) * innerWidth / 2, (1 - y / w) * innerHeight / 2, w];
  }

  function rebuild(layer) {
    for (const item of layer.items) if (!layer.own?.includes(item)) item.free();
    layer.items = layer.build(layer, look());
    layer.refresh?.();
    draw();
  }
  function choose(spot, forecast) {
    state.extra.forEach((item) => item.free());
    Object.assign(state, { spot, forecast });
    state.extra = drawPicked(spot, forecast);
    describe(spot, forecast);
    draw();
  }

  // ---- what was picked
  function table(target, rows, wide) {
    target.className = wide ? "wide" : "";
    target.replaceChildren(...rows.map((row, i) => {
      const line = element("tr");
      line.append(...row.map((cell, k) => element(wide ? (i ? "td" : "th") : (k ? "td" : "th"), cell)));
      return line;
    }));
  }
  function describe(spot, forecast) {
    const box = $("picked");
    box.hidden = !spot;
    if (!spot) return;
    box.querySelector("h2").textContent = spot.title;
    box.querySelector("p").textContent = spot.note || "";
    const rows = spot.rows;
    if (!forecast) return table(box.querySelector("table"), rows);
    const { paths, beams, position, distance } = forecast.forecast;
    const bound = rows.find(([name]) => name === "smallest error");
    box.querySelector("p").textContent = `${bound ? `Bound: ${bound[1]}. ` : ""}Predicted at ${placeText(position)}, ${short(distance)} m from the nearest report` +
      (beams.length ? `; best beam ${beams.map((b) => `${b.beam} of ${b.station} (${short(decibel(b.power))} dB)`)[0]}.` : ".");
    if (!paths.length) return table(box.querySelector("table"), [["paths", "none: the map predicts an outage"]]);
    table(box.querySelector("table"), [["station", "dB", "ns", "azimuth", "prob."], ...paths.slice(0, 14).map((p) =>
      [p.station, decibel(p.power)?.toFixed(1) ?? "none", (p.delay * 1e9).toFixed(1), `${(p.departure_azimuth * 180 / Math.PI).toFixed(1)}°`, p.probability.toFixed(2)])], true);
  }

  function boundAt([x, y]) {
    const { position, value, step } = scene.bound;
    const i = value.findIndex((_, k) => Math.abs(position[3 * k] - x) <= step / 2 && Math.abs(position[3 * k + 1] - y) <= step / 2);
    return i < 0 ? "not computed here" : value[i] === null ? "not bounded" : `${short(value[i])} m rms`;
  }
  async function predict(place) {
    const spot = { place, title: "Place", rows: [["place", placeText(place)]], note: "" };
    if (scene.bound) spot.rows.push(["smallest error", boundAt(place)]);
    choose(spot, null);
    if (scene.live) {
      const mine = state.spot;
      try {
        const answer = await ask(`x=${place[0]}&y=${place[1]}&z=${place[2]}`);
        const found = await answer.json();
        if (state.spot !== mine) return;  // another place was picked meanwhile
        if (answer.ok) choose(spot, found); else problem(found.detail);
      } catch { problem("The server does not answer; start it again."); }
    } else if (scene.places.length) {
      const away = (p) => Math.hypot(...p.forecast.position.map((v, i) => v - place[i]));
      const nearest = scene.places.reduce((a, b) => away(a) < away(b) ? a : b);
      choose({ ...spot, place: nearest.forecast.position }, nearest);
    } else { spot.note = "No map is shown, so nothing is predicted."; choose(spot, null); }
  }

  function pick(x, y, touch) {
    problem("");
    let best = null, least = touch ? 26 : 13;
    for (const layer of layers) {
      if (!layer.on) continue;
      for (const spot of layer.spots) {
        if (spot.hidden?.(layer)) continue;
        const p = spot.place && project(spot.place);
        if (!p) continue;
        const far = Math.hypot(p[0] - x, p[1] - y);
        if (far > (touch ? 26 : 13)) continue;
        const cost = far / spot.weight + p[2] * 1e-3;
        if (cost < least) { least = cost; best = spot; }
      }
    }
    if (best) return choose(best, null);
    const ray = camera.ray(2 * x / innerWidth - 1, 1 - 2 * y / innerHeight);
    const eye = camera.eye().map((v, i) => v + middle[i]), t = (scene.ground - eye[2]) / ray[2];
    const place = ray.map((v, i) => +(eye[i] + t * v).toFixed(2));
    const near = place.every((v, i) => i === 2 || (v > scene.lower[i] - reach && v < scene.upper[i] + reach));
    if (t > 0 && near) predict(place); else choose(null, null);
  }

  // ---- panel
  function legend(layer) {
    const box = element("div", "", { className: "layer" }), label = element("label"), tick = element("input");
    Object.assign(tick, { type: "checkbox", checked: layer.on });
    tick.onchange = () => { layer.on = tick.checked; draw(); };
    layer.tick = tick;
    const counted = element("small"), kinds = element("div", "", { className: "kinds" });
    const swatch = element("i", "", { className: `swatch ${layer.shape ?? ""}` });
    swatch.style.background = layer.swatch;
    label.append(tick, swatch, element("em", layer.name), counted);
    box.append(label);
    const more = element("div", "", { className: "more" });
    const control = (name, from, to, value, change) => {
      const own = element("label", name), input = element("input");
      Object.assign(input, { type: "range", min: from, max: to, step: 0.01, value });
      input.setAttribute("aria-label", `${layer.name}: ${name}`);
      input.oninput = () => { change(+input.value); rebuild(layer); };
      own.append(input); more.append(own);
    };
    if (layer.columns) {
      const select = element("select");
      select.setAttribute("aria-label", `${layer.name}: colour by`);
      layer.columns.forEach((c, i) => select.append(element("option", c.unit ? `${c.name} [${c.unit}]` : c.name, { value: i })));
      select.onchange = () => { layer.column = +select.value; rebuild(layer); };
      more.append(select);
    }
    if (layer.opacity !== undefined) control("opacity", 0, 1, layer.opacity, (v) => { layer.opacity = v; });
    if (layer.threshold !== undefined) control("least occupancy", 0, 1, layer.threshold, (v) => { layer.threshold = v; });
    if (layer.kinds) more.append(kinds);
    const bar = element("div", "", { className: "bar" }), ends = element("div", "", { className: "ends" }), note = element("div");
    bar.style.background = SCALE;
    if (layer.columns || layer.scale) more.append(bar, ends, note);
    layer.refresh = () => {
      counted.textContent = `${layer.count.toLocaleString("en")}${layer.unit ? " " + layer.unit : ""}`;
      kinds.replaceChildren(...(layer.kinds ?? []).map(([name, count]) => {
        const entry = element("span"), dot = element("i");
        dot.style.background = hue(name);
        entry.append(dot, `${name.replace("_", " ")} ${count}`);
        return entry;
      }));
      if (!layer.scale) return;
      const [low, high, unit] = layer.scale;
      ends.replaceChildren(element("span", inUnit(low, unit)), element("span", inUnit(high, unit)));
      note.textContent = layer.note ?? (layer.none ? `grey: none (${layer.none})` : "");
    };
    if (more.childNodes.length) box.append(more);
    $("layers").append(box);
  }
  layers.slice().reverse().forEach(legend);

  const labels = scene.stations.map((s) => {
    const mark = element("span", s.name);
    $("labels").append(mark);
    return { mark, place: s.position };
  });

  function setTime(now) {
    scene.now = Math.min(Math.max(now, first), last);
    $("time").value = last > first ? 1000 * (scene.now - first) / (last - first) : 1000;
    $("clock").querySelector("output").textContent = `${scene.now.toFixed(last - first < 10 ? 2 : 1)} s`;
    layers.filter((l) => l.moves).forEach(rebuild);
    if (state.spot && layers.some((l) => l.moves && l.spots.includes(state.spot))) choose(state.spot.place ? state.spot : null, null);
  }
  let playing = 0;
  function play(on) {
    playing = on ? performance.now() : 0;
    $("play").textContent = on ? "\u275A\u275A" : "\u25B6";
    if (!on) return;
    if (scene.now >= last) setTime(first);
    const tick = (now) => {
      if (!playing) return;
      setTime(scene.now + Math.min((now - playing) / 1000, 0.25) * (last - first) / 15);  // the whole in 15 s
      playing = now;
      if (scene.now >= last) play(false); else requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }
  $("clock").hidden = !(last > first);
  $("time").oninput = () => { play(false); setTime(first + $("time").value / 1000 * (last - first)); };
  $("play").onclick = () => play(!playing);

  // ---- camera
  function fit() {
    camera.at = [0, 0, 0];
    camera.distance = 1.3 * Math.hypot(scene.upper[0] - scene.lower[0], scene.upper[1] - scene.lower[1], 5);
    draw();
  }
  function move(dx, dy) {  // what lies in the middle follows the finger
    const [right, up] = camera.axes(), metre = camera.distance / camera.focal;
    const ahead = [up[0], up[1], 0], size = Math.hypot(...ahead);
    const flat_ = size > 0.3 ? ahead.map((v) => v / size) : up;
    camera.at = camera.at.map((v, i) => v + metre * (dx * right[i] + dy * flat_[i]));
    draw();
  }
  function turn(dx, dy) {
    camera.azimuth -= dx * 0.006;
    camera.elevation = Math.min(Math.max(camera.elevation + dy * 0.006, 0.03), Math.PI / 2 - 1e-3);
    draw();
  }
  function zoom(factor) { camera.distance = Math.min(Math.max(camera.distance * factor, 0.5), reach * 30); draw(); }
  function above() { camera.azimuth = -Math.PI / 2; camera.elevation = Math.PI / 2 - 1e-3; draw(); }

  const fingers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", (e) => {
    canvas.setPointerCapture(e.pointerId);
    if (!fingers.size) moved = 0;
    fingers.set(e.pointerId, [e.clientX, e.clientY]);
    canvas.focus({ preventScroll: true });
    canvas.classList.add("moving");
  });
  canvas.addEventListener("pointermove", (e) => {
    const from = fingers.get(e.pointerId);
    if (!from) return;
    const dx = e.clientX - from[0], dy = e.clientY - from[1];
    moved += Math.abs(dx) + Math.abs(dy);
    if (fingers.size === 1) {
      if (e.buttons & 6 || e.shiftKey) move(-dx, dy); else turn(dx, dy);
    } else {
      const other = [...fingers].find(([id]) => id !== e.pointerId)[1];
      const before = Math.hypot(from[0] - other[0], from[1] - other[1]), after = Math.hypot(e.clientX - other[0], e.clientY - other[1]);
      if (before > 1 && after > 1) zoom(before / after);
      move(-dx / 2, dy / 2);
    }
    fingers.set(e.pointerId, [e.clientX, e.clientY]);
  });
  const lift = (e) => {
    const alone = fingers.size === 1 && fingers.delete(e.pointerId);
    fingers.delete(e.pointerId);
    canvas.classList.remove("moving");
    if (alone && moved < 6 && e.type === "pointerup" && e.button === 0) pick(e.clientX, e.clientY, e.pointerType === "touch");
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("contextmenu", (e) => e.preventDefault());
  canvas.addEventListener("wheel", (e) => { e.preventDefault(); zoom(Math.exp(Math.max(Math.min(e.deltaY, 200), -200) * 0.0015)); }, { passive: false });
  addEventListener("resize", draw);
  $("north").onclick = above;

  // ---- keys and theme
  function setTheme(dark) { state.dark = dark; root.classList.toggle("dark", dark); layers.forEach(rebuild); choose(state.spot, state.forecast); }
  const foldPanel = () => { $("panel").classList.toggle("folded"); draw(); };
  $("theme").onclick = () => setTheme(!state.dark);
  $("fold").onclick = foldPanel;
  const step = () => (last - first) / 100;
  const keys = [
    ["arrows", "turn; with shift, move", {
      ArrowLeft: (s) => s ? move(-40, 0) : turn(-24, 0), ArrowRight: (s) => s ? move(40, 0) : turn(24, 0),
      ArrowUp: (s) => s ? move(0, 40) : turn(0, 16), ArrowDown: (s) => s ? move(0, -40) : turn(0, -16) }],
    ["+ -", "nearer, farther", { "+": () => zoom(0.8), "=": () => zoom(0.8), "-": () => zoom(1.25), _: () => zoom(1.25) }],
    ["t", "look from above", { t: above }], ["f", "show everything", { f: fit }],
    ["1 ... 9", "layers, as listed", {}],
    ["space", "play or stop", { " ": () => last > first && play(!playing) }],
    [", .", "back and forth in time", { ",": () => setTime(scene.now - step()), ".": () => setTime(scene.now + step()) }],
    ["d", "light or dark", { d: () => $("theme").click() }], ["p", "panel", { p: foldPanel }],
    ["Esc", "let go", { Escape: () => choose(null, null) }],
    ["h", "these keys", { h: () => { $("panel").classList.remove("folded"); $("keys").style.display = "block"; $("keys").scrollIntoView(); } }],
  ];
  $("keys").querySelector("table").append(...keys.map(([name, text]) => {
    const line = element("tr"), cell = element("th");
    cell.append(element("kbd", name)); line.append(cell, element("td", text));
    return line;
  }));
  addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || ["SELECT"].includes(e.target.tagName)) return;
    if (e.target.tagName === "INPUT" && /^Arrow| /.test(e.key)) return;
    if (e.target.tagName === "BUTTON" && e.key === " ") return;
    const layer = layers.slice().reverse()[+e.key - 1];
    if (/^[1-9]$/.test(e.key) && layer) { layer.tick.click(); return; }
    for (const [, , does] of keys) if (does[e.key]) { e.preventDefault(); does[e.key](e.shiftKey); return; }
  });
  canvas.addEventListener("webglcontextlost", (e) => { e.preventDefault(); problem("The graphics device was lost; load the page again."); });

  root.classList.toggle("dark", state.dark);
  layers.forEach(rebuild);
  if (last > first) setTime(last);
  fit();
  const renew = (name) => layers.filter((l) => l.name === name).forEach((layer) => { layer.renew(layer); rebuild(layer); });
  window.echoscape = { scene, layers, state, camera, project, renderer, frame, renew, draw };  // also for tests
}

const written = JSON.parse(document.getElementById("scene").textContent);
if (written) openPage(written, (place) => fetch(`predict?${place}`));

// Turns a scene into what is drawn: one entry a layer, with its legend and what can be picked in it.
"use strict";

const VIRIDIS = [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37]];
const HUES = { "virtual anchor": "#3b8fd1", scatterer: "#d55e00", edge: "#009e73", undetermined: "#8a8f96",
  located: "#00a676", ambiguous: "#e69f00", several: "#e69f00", biased: "#d64f3c", outside: "#d64f3c",
  unexplained: "#d64f3c", no_echo: "#8a8f96", user: "#0072b2", target: "#cc3f8a", anchor: "#3b8fd1",
  echo: "#cc3f8a", path: "#0072b2", beam: "#e69f00", station: "#b3261e", wall: "#5b7fa6", picked: "#ff3d7f" };
const hue = (name) => HUES[name] || "#8a8f96";
const rgb = (text) => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
const scaleColour = (share) => {
  const x = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1), i = Math.min(Math.floor(x), VIRIDIS.length - 2);
  return [0, 1, 2].map((k) => Math.round(VIRIDIS[i][k] + (x - i) * (VIRIDIS[i + 1][k] - VIRIDIS[i][k])));
};
const SCALE = `linear-gradient(90deg, ${VIRIDIS.map((c) => `rgb(${c})`).join(", ")})`;
const short = (value) => value === null || value === undefined ? "none"
  : Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(2) : String(+value.toPrecision(4));
const inUnit = (value, unit) => value === null || value === undefined ? "none" : `${short(value)}${unit ? " " + unit : ""}`;
const decibel = (power) => power > 0 ? 10 * Math.log10(power) : null;
const places = (flat) => Array.from({ length: flat.length / 3 }, (_, i) => flat.slice(3 * i, 3 * i + 3));

function spanOf(values) {  // without the outermost fiftieth at either end
  const known = values.filter((v) => v !== null).sort((a, b) => a - b);
  if (!known.length) return [0, 1];
  const low = known[Math.floor(0.02 * (known.length - 1))], high = known[Math.ceil(0.98 * (known.length - 1))];
  return low < high ? [low, high] : [low - 0.5, low + 0.5];
}

function makeLayers(scene, renderer, origin, follows) {
  const { make } = renderer;
  const local = (flat) => {  // small numbers for single precision
    const out = new Float32Array(flat.length);
    for (let i = 0; i < flat.length; i++) out[i] = flat[i] - origin[i % 3];
    return out;
  };
  const colours = (count, colour) => {  // colour: of one index, red, green, blue, alpha
    const out = new Uint8Array(4 * count);
    for (let i = 0; i < count; i++) { const c = colour(i); out.set([c[0], c[1], c[2], c[3] ?? 255], 4 * i); }
    return out;
  };
  const chain = (line) => {  // corners to segments
    const out = [];
    for (let i = 3; i < line.length; i += 3) out.push(...line.slice(i - 3, i + 3));
    return out;
  };
  const lines = (segments, colour, look) => {
    const ends = local(segments), c = rgb(colour);
    return make.lines(ends, colours(ends.length / 6, () => [...c, look?.alpha ?? 255]), look);
  };
  const balls = (marks, place, axes, colour) => make.balls(local(marks.flatMap(place)),
    new Float32Array(marks.flatMap(axes)), colours(marks.length, (i) => colour(marks[i])));
  const layers = [];
  const add = (name, count, rest) => { if (count) layers.push({ name, count, on: true, items: [], spots: [], ...rest }); };

  if (scene.mesh) {
    const vertex = local(scene.mesh.vertex), face = new Uint32Array(scene.mesh.face);
    const edges = featureEdges(vertex, face);
    add("Buildings", face.length / 3, { unit: "triangles", swatch: "#aeb7bf", shape: "square", opacity: 0.6,
      build(layer, look) {
        const solid = layer.opacity >= 0.99;
        layer.own ??= [make.mesh(vertex, face), make.thin(edges)];
        Object.assign(layer.own[0], { base: look.wall, alpha: solid ? 1 : layer.opacity });
        layer.own[1].colour = [...look.edge.map((v) => v / 255), 0.5];
        return layer.opacity < 0.02 ? [layer.own[1]] : layer.own;
      } });
  }
  if (scene.walls.length) {
    add("Walls of the map", scene.walls.length, { swatch: hue("wall"), shape: "square", build() {
      const vertex = [], face = [], rim = [];
      scene.walls.forEach(({ line: [a, b, c, d], low, high }, i) => {
        const top = Math.max(high, low + 2), ring = [[a, b, low], [c, d, low], [c, d, top], [a, b, top]];
        vertex.push(...ring.flat());
        face.push(4 * i, 4 * i + 1, 4 * i + 2, 4 * i, 4 * i + 2, 4 * i + 3);
        ring.forEach((p, k) => rim.push(...p, ...ring[(k + 1) % 4]));
      });
      const mesh = make.mesh(local(vertex), new Uint32Array(face));
      return [Object.assign(mesh, { base: rgb(hue("wall")).map((v) => v / 255), alpha: 0.45 }), lines(rim, hue("wall"), { width: 1.5 })];
    } });
  }
  if (scene.bound) {
    const [low, high] = spanOf(scene.bound.value), { position, value, step } = scene.bound;
    const share = (v) => Math.log(Math.max(v, 1e-9) / low) / Math.log(high / low);  // a bound is positive
    add("Bound of the error", value.length, { unit: "places", scale: [low, high, "m"], note: "logarithmic; nothing drawn where unbounded", shape: "square", swatch: "#35b779",
      build() {
        const known = value.flatMap((v, i) => v === null ? [] : [i]);
        const at = known.flatMap((i) => [position[3 * i], position[3 * i + 1], position[3 * i + 2] - 1.2]);
        return [make.boxes(local(at), [step / 2, step / 2, 0.05],
          colours(known.length, (k) => [...scaleColour(share(value[known[k]])), 170]))];
      } });
  }
  if (scene.reports) {
    const marks = scene.reports, where = places(marks.position);
    add("Reports", where.length, { column: 0, columns: marks.column, swatch: "#35b779",
      spots: where.map((p, i) => ({ place: p, weight: 0.8, title: `Report ${marks.number[i]} of ${marks.station[i]}`,
        rows: [["place", placeText(p)], ...marks.column.map((c) => [c.name, inUnit(c.value[i], c.unit)])] })),
      build(layer, look) {
        const chosen = marks.column[layer.column], [low, high] = spanOf(chosen.value);
        layer.scale = [low, high, chosen.unit];
        layer.none = chosen.value.filter((v) => v === null).length;
        const grey = look.dark ? [95, 102, 110] : [190, 196, 202];
        return [make.points(local(marks.position), colours(where.length, (i) =>
          chosen.value[i] === null ? grey : scaleColour((chosen.value[i] - low) / (high - low))), { width: where.length > 3000 ? 5 : 7, ring: 0.2 })];
      } });
  }
  if (scene.points.length) {
    add("Static points", scene.points.length, { kinds: countOf(scene.points.map((p) => p.kind)), swatch: hue("virtual anchor"),
      spots: scene.points.map((p, index) => ({ place: p.position, weight: 1, point: index, title: `${p.kind} of ${p.station}`,
        note: p.region.length ? "Its paths are drawn to the places at which the map lists it." : "",
        rows: [["place", placeText(p.position)], ["standard deviation", inUnit(p.std, "m")], ["gain", inUnit(p.gain, "dB m²")],
          ["listed at", `${p.region.length / 3} reports`]] })),
      build: () => [make.points(local(scene.points.flatMap((p) => p.position)),
        colours(scene.points.length, (i) => rgb(hue(scene.points[i].kind))), { width: 7, square: 1, ring: 0.25 })] });
  }
  if (scene.voxels) {
    const { position, occupancy, std, magnitude, edge } = scene.voxels, where = places(position);
    const columns = [["occupancy", "", occupancy], ["standard deviation", "", std], ["magnitude", "", magnitude]]
      .map(([name, unit, value]) => ({ name, unit, value }));
    add("Voxels", occupancy.length, { column: 0, columns, threshold: 0.5, swatch: "#fde725", shape: "square",
      spots: where.map((p, i) => ({ place: p, weight: 0.7, hidden: (layer) => occupancy[i] < layer.threshold, title: "Voxel",
        rows: [["centre", placeText(p)], ...columns.map((c) => [c.name, short(c.value[i])])] })),
      build(layer) {
        const chosen = columns[layer.column].value, [low, high] = layer.column ? spanOf(chosen) : [0, 1];
        layer.scale = [low, high, ""];
        const use = occupancy.flatMap((v, i) => v >= layer.threshold ? [i] : []);
        layer.note = `${use.length} of ${occupancy.length} shown`;
        const at = new Float32Array(3 * use.length);
        use.forEach((i, k) => { for (const a of [0, 1, 2]) at[3 * k + a] = position[3 * i + a] - origin[a]; });
        return [make.boxes(at, [edge * 0.47, edge * 0.47, edge * 0.47],
          colours(use.length, (k) => scaleColour((chosen[use[k]] - low) / (high - low || 1))))];
      } });
  }
  if (scene.stations.length) {
    add("Stations", scene.stations.length, { swatch: hue("station"),
      spots: scene.stations.map((s) => ({ place: s.position, weight: 3, title: `Station ${s.name}`, rows: [["place", placeText(s.position)],
        ["array", s.rows ? `${s.rows} x ${s.columns}` : "not known"],
        ...(s.rows ? [["looks to", `${degrees(s.azimuth)} azimuth, ${degrees(s.tilt)} down`]] : [])] })),
      build(_, look) {
        const mast = scene.stations.flatMap((s) => [...s.position.slice(0, 2), scene.lower[2], ...s.position]);
        const panels = scene.stations.flatMap(arrayOutline);
        return [lines(mast, look.dark ? "#c9d2da" : "#3a444d", { width: 2 }), lines(panels, hue("station"), { width: 2 }),
          make.points(local(scene.stations.flatMap((s) => s.position)), colours(scene.stations.length, () => rgb(hue("station"))), { width: 13, lift: 2e-3 })];
      } });
  }
  if (scene.fixes.length || follows) {
    let best, other;
    const spotOf = (f) => ({ place: f.position, weight: f.rank ? 1.4 : 2, target: f.target,
      hidden: (layer) => f.rank > 0 && !layer.alternatives,
      title: `Target ${f.target}${f.rank ? `, alternative ${f.rank}` : ""}`, note: scene.echoes.length ? "Its echoes are drawn through the walls." : "",
      rows: [["status", f.status], ["place", placeText(f.position)], ["90 % half axes", lengthsOf(f.axes).map(short).join(", ") + " m"],
        ["probability", short(f.probability)], ...(scene.echoes.length ? [["echoes", `${scene.echoes.filter((e) => e.target === f.target && e.line.length).length} drawn of ${scene.echoes.filter((e) => e.target === f.target).length}`]] : [])] });
    const renew = (layer) => {
      [best, other] = [scene.fixes.filter((f) => f.rank === 0), scene.fixes.filter((f) => f.rank > 0)];
      Object.assign(layer, { count: best.length, kinds: countOf(best.map((f) => f.status)), spots: scene.fixes.map(spotOf) });
    };
    const layer = { name: "Fixes", on: true, items: [], unit: "targets", swatch: hue("located"), alternatives: true, renew,
      build(layer) {
        const items = [balls(best, (f) => f.position, (f) => atLeast(f.axes, 0.15), (f) => [...rgb(hue(f.status)), 110]),
          make.points(local(best.flatMap((f) => f.position)), colours(best.length, (i) => rgb(hue(best[i].status))), { width: 9, lift: 1e-3 })];
        if (!layer.alternatives || !other.length) return items;
        const to = new Map(best.map((f) => [f.target, f.position]));
        const ties = other.filter((f) => to.has(f.target)).flatMap((f) => [...to.get(f.target), ...f.position]);
        return [...items, lines(ties, hue("ambiguous"), { width: 1.2, dash: 8 }),
          make.points(local(other.flatMap((f) => f.position)), colours(other.length, (i) => [...rgb(hue(other[i].status)), 150]), { width: 6 })];
      } };
    renew(layer);
    layers.push(layer);
  }
  if (scene.tracks.length) {
    add("Tracks", scene.tracks.length, { kinds: countOf(scene.tracks.map((t) => t.kind)), swatch: hue("user"), moves: true,
      spots: scene.tracks.map((t) => ({ weight: 2.2, title: t.kind === "user" ? "User" : `Track ${t.name}, ${t.kind}`,
        get place() { return instant(t, scene.now).place; },
        hidden: () => instant(t, scene.now).index < 0,
        get rows() { const n = instant(t, scene.now); return n.index < 0 ? [] : [["time", `${short(t.time[n.index])} s`], ["place", placeText(n.place)],
          ["standard deviation", inUnit(t.std[n.index], "m")], ["status", t.status[n.index]]]; } })),
      build() {
        const trail = [], tone = [], heads = [];
        for (const t of scene.tracks) {
          const { index } = instant(t, scene.now);
          const segments = chain(t.position.slice(0, 3 * (index + 1)));
          trail.push(...segments);
          for (let i = 0; i < segments.length / 6; i++) tone.push(rgb(hue(t.kind)));
          if (index >= 0) heads.push({ place: t.position.slice(3 * index, 3 * index + 3), std: t.std[index], kind: t.kind });
        }
        const ends = local(trail);
        return [make.lines(ends, colours(ends.length / 6, (i) => tone[i]), { width: 2.5 }),
          balls(heads, (h) => h.place, (h) => atLeast([h.std * 2.5, 0, 0, 0, h.std * 2.5, 0, 0, 0, h.std * 2.5], 0.1), (h) => [...rgb(hue(h.kind)), 80]),
          make.points(local(heads.flatMap((h) => h.place)), colours(heads.length, (i) => rgb(hue(heads[i].kind))), { width: 11, lift: 1e-3 })];
      } });
  }
  const drawPicked = (spot, forecast) => {  // what a choice adds to the page
    const items = [];
    if (spot) items.push(make.points(local(spot.place), colours(1, () => rgb(hue("picked"))), { width: 16, lift: 3e-3, ring: 0.3 }));
    if (spot?.point !== undefined) {
      const p = scene.points[spot.point], region = places(p.region), step = Math.ceil(region.length / 60) || 1;
      const rays = region.filter((_, i) => i % step === 0).flatMap((q) => [...p.position, ...q]);
      items.push(lines(rays, hue(p.kind), { width: 1, alpha: 110 }),
        make.points(local(p.region), colours(region.length, () => rgb(hue("picked"))), { width: 9, lift: 1e-3, ring: 0 }));
    }
    if (spot?.target !== undefined) {
      const mine = scene.echoes.filter((e) => e.target === spot.target);
      for (const exact of [true, false]) {
        const corners = mine.filter((e) => e.exact === exact).flatMap((e) => chain(e.line));
        if (corners.length) items.push(lines(corners, hue("echo"), { width: 1.8, alpha: 200, dash: exact ? 0 : 9 }));
      }
      const lost = mine.filter((e) => !e.line.length).flatMap((e) => {
        const from = scene.stations.find((s) => s.name === e.station)?.position;
        return from ? [...from, ...from.map((v, i) => v + 15 * e.departure[i])] : [];
      });
      if (lost.length) items.push(lines(lost, "#8a8f96", { width: 1.5, dash: 4 }));
    }
    if (forecast) {
      forecast.lines.forEach((line, i) => {
        const chance = forecast.forecast.paths[i].probability;
        items.push(lines(chain(line), hue("path"), { width: 1.4 + 2 * chance, alpha: Math.round(70 + 185 * chance), dash: forecast.exact[i] ? 0 : 9 }));
      });
      forecast.forecast.beams.forEach((beam, i) => {
        const from = scene.stations.find((s) => s.name === beam.station), way = forecast.beams[i];
        if (from && way.length) items.push(lines([...from.position, ...from.position.map((v, k) => v + 40 * way[k])], hue("beam"), { width: 6 - 1.5 * i, alpha: 190 }));
      });
    }
    return items;
  };
  return { layers, drawPicked };
}

function instant(track, now) {
  let low = -1, high = track.time.length - 1;
  while (low < high) { const mid = Math.ceil((low + high) / 2); if (track.time[mid] <= now + 1e-9) low = mid; else high = mid - 1; }
  return { index: low, place: low < 0 ? null : track.position.slice(3 * low, 3 * low + 3) };
}

function featureEdges(vertex, face) {  // where two triangles meet at an angle, or one ends
  const number = new Map(), same = new Int32Array(vertex.length / 3);
  const whole = (v) => Math.round(v * 100) + 5e5;  // centimetres, within 5 km of the middle
  for (let i = 0; i < same.length; i++) {
    const level = whole(vertex[3 * i]) * 1048576 + whole(vertex[3 * i + 1]), high = whole(vertex[3 * i + 2]);
    if (!number.has(high)) number.set(high, new Map());
    const floor = number.get(high);
    if (!floor.has(level)) floor.set(level, i);
    same[i] = floor.get(level);
  }
  const met = new Map(), out = [], count = same.length;
  for (let f = 0; f < face.length; f += 3) {
    const [a, b, c] = [3 * face[f], 3 * face[f + 1], 3 * face[f + 2]];
    const ux = vertex[b] - vertex[a], uy = vertex[b + 1] - vertex[a + 1], uz = vertex[b + 2] - vertex[a + 2];
    const vx = vertex[c] - vertex[a], vy = vertex[c + 1] - vertex[a + 1], vz = vertex[c + 2] - vertex[a + 2];
    const n = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    const size = Math.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]) || 1;
    for (let k = 0; k < 3; k++) {
      const p = same[face[f + k]], q = same[face[f + (k + 1) % 3]], key = Math.min(p, q) * count + Math.max(p, q);
      const other = met.get(key);
      if (other) { if (Math.abs(n[0] * other.n[0] + n[1] * other.n[1] + n[2] * other.n[2]) / size > 0.94) other.flat = true; }
      else met.set(key, { p, q, n: n.map((x) => x / size), flat: false });
    }
  }
  for (const { p, q, flat } of met.values()) {
    if (!flat) for (const i of [p, q]) out.push(vertex[3 * i], vertex[3 * i + 1], vertex[3 * i + 2]);
  }
  return new Float32Array(out);
}

function arrayOutline(station) {  // a panel that faces where the array looks, three metres wide
  const { azimuth, tilt, position } = station;
  if (azimuth === null) return [];
  const left = [-Math.sin(azimuth), Math.cos(azimuth), 0];
  const up = [Math.sin(tilt) * Math.cos(azimuth), Math.sin(tilt) * Math.sin(azimuth), Math.cos(tilt)];
  const look = [Math.cos(tilt) * Math.cos(azimuth), Math.cos(tilt) * Math.sin(azimuth), -Math.sin(tilt)];
  const corner = ([s, t]) => position.map((v, i) => v + 1.5 * s * left[i] + 1.5 * t * up[i]);
  const ring = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(corner);
  return [...ring.flatMap((p, k) => [...p, ...ring[(k + 1) % 4]]), ...position, ...position.map((v, i) => v + 6 * look[i])];
}

const countOf = (names) => [...new Set(names)].map((name) => [name, names.filter((n) => n === name).length]);
const degrees = (angle) => `${short(angle * 180 / Math.PI)}°`;
const placeText = (p) => p.map((v) => v.toFixed(1)).join(", ") + " m";
const lengthsOf = (axes) => [0, 3, 6].map((i) => Math.hypot(axes[i], axes[i + 1], axes[i + 2]));
const atLeast = (axes, least) => {  // an ellipsoid too flat to be seen gets some thickness
  const unit = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  return [0, 1, 2].flatMap((i) => {
    const axis = axes.slice(3 * i, 3 * i + 3), size = Math.hypot(...axis);
    return size > least ? axis : size > 1e-9 ? axis.map((v) => v * least / size) : unit[i].map((v) => v * least);
  });
};

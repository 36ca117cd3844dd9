// Draws triangles, lines, points, boxes and ellipsoids with WebGL 2; a frame only when asked.
"use strict";

function makeRenderer(canvas) {
  const gl = canvas.getContext("webgl2", { antialias: true, alpha: false });
  if (!gl) return null;
  const head = "#version 300 es\nprecision highp float;\n";
  const common = "uniform mat4 M; uniform vec2 size; uniform float dpr;\n";

  function program(vertex, fragment) {
    const made = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, head + text);
      gl.compileShader(shader);
      gl.attachShader(made, shader);
    }
    gl.linkProgram(made);
    if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
    const at = {};
    for (let i = 0; i < gl.getProgramParameter(made, gl.ACTIVE_UNIFORMS); i++) {
      const name = gl.getActiveUniform(made, i).name;
      at[name] = gl.getUniformLocation(made, name);
    }
    return { made, at };
  }

  const plain = "in vec4 tone; out vec4 seen; void main(){ seen = tone; }";
  const programs = {
    mesh: program(
      common + "layout(location=0) in vec3 place; out vec3 spot;" +
        "void main(){ spot = place; gl_Position = M * vec4(place, 1.0); }",
      "uniform vec3 base; uniform float alpha; in vec3 spot; out vec4 seen;" +
        "void main(){ vec3 n = normalize(cross(dFdx(spot), dFdy(spot)));" +
        "float light = 0.62 + 0.26 * abs(dot(n, vec3(0.36, 0.48, 0.8))) + 0.12 * abs(n.x);" +
        "seen = vec4(base * light, alpha); }"),
    thin: program(
      common + "layout(location=0) in vec3 place; uniform vec4 colour; out vec4 tone;" +
        "void main(){ gl_Position = M * vec4(place, 1.0); tone = colour; }", plain),
    lines: program(
      common + "layout(location=0) in vec2 corner; layout(location=1) in vec3 a;" +
        "layout(location=2) in vec3 b; layout(location=3) in vec4 colour;" +
        "uniform float width; out vec4 tone; out float run;" +
        "void main(){ vec4 A = M * vec4(a, 1.0), B = M * vec4(b, 1.0); float near = 1e-2;" +
        "if (A.w < near && B.w < near) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); return; }" +
        "if (A.w < near) A = mix(A, B, (near - A.w) / (B.w - A.w));" +
        "if (B.w < near) B = mix(B, A, (near - B.w) / (A.w - B.w));" +
        "vec2 way = (B.xy / B.w - A.xy / A.w) * size * 0.5; float far = length(way);" +
        "vec2 side = far > 1e-6 ? vec2(-way.y, way.x) / far : vec2(0.0, 1.0);" +
        "vec4 P = mix(A, B, corner.x); P.xy += side * corner.y * width * dpr / size * P.w;" +
        "P.z -= 2e-5 * P.w; gl_Position = P; tone = colour; run = corner.x * far / dpr; }",
      "uniform float dash; in vec4 tone; in float run; out vec4 seen; void main(){" +
        "if (dash > 0.0 && fract(run / dash) > 0.55) discard; seen = tone; }"),
    points: program(
      common + "layout(location=0) in vec3 place; layout(location=1) in vec4 colour;" +
        "uniform float width; uniform float lift; out vec4 tone; void main(){" +
        "gl_Position = M * vec4(place, 1.0); gl_Position.z -= lift * gl_Position.w;" +
        "gl_PointSize = width * dpr; tone = colour; }",
      "uniform vec3 rim; uniform float ring; uniform float square; in vec4 tone; out vec4 seen;" +
        "void main(){ vec2 p = 2.0 * gl_PointCoord - 1.0;" +
        "float r = square > 0.5 ? max(abs(p.x), abs(p.y)) : length(p);" +
        "if (r > 1.0) discard; seen = r > 1.0 - ring ? vec4(rim, tone.a) : tone; }"),
    boxes: program(
      common + "layout(location=0) in vec4 corner;" +
        "layout(location=2) in vec3 place; layout(location=3) in vec4 colour;" +
        "uniform vec3 half_; uniform vec3 eye; out vec4 tone; void main(){" +
        "vec3 way = eye - place; vec3 turn = vec3(way.x < 0.0 ? -1.0 : 1.0, way.y < 0.0 ? -1.0 : 1.0," +
        "way.z < 0.0 ? -1.0 : 1.0); " +
        "float light = corner.w < 0.5 ? 0.78 : corner.w < 1.5 ? 0.85 : 0.97;" +
        "tone = vec4(colour.rgb * light, colour.a);" +
        "gl_Position = M * vec4(place + corner.xyz * turn * half_, 1.0); }", plain),
    balls: program(
      common + "layout(location=0) in vec3 corner; layout(location=1) in vec3 place;" +
        "layout(location=2) in vec3 a; layout(location=3) in vec3 b; layout(location=4) in vec3 c;" +
        "layout(location=5) in vec4 colour; out vec4 tone; void main(){" +
        "float light = 0.7 + 0.3 * dot(corner, normalize(vec3(0.3, 0.4, 0.87)));" +
        "tone = vec4(colour.rgb * light, colour.a);" +
        "gl_Position = M * vec4(place + corner.x * a + corner.y * b + corner.z * c, 1.0); }", plain),
  };

  function buffer(data, target = gl.ARRAY_BUFFER) {
    const made = gl.createBuffer();
    gl.bindBuffer(target, made);
    gl.bufferData(target, data, gl.STATIC_DRAW);
    return made;
  }
  // Lines and boxes are spelt out vertex by vertex: drawing in software is slow at instances.
  const quad = [0, -1, 1, -1, 1, 1, 0, -1, 1, 1, 0, 1];
  const cube = [];  // the three faces that look at the eye, turned there by the shader
  for (const axis of [0, 1, 2]) {
    for (const [s, t] of [[-1, -1], [1, -1], [1, 1], [-1, -1], [1, 1], [-1, 1]]) {
      const corner = [0, 0, 0];
      corner[axis] = 1; corner[(axis + 1) % 3] = s; corner[(axis + 2) % 3] = t;
      cube.push(...corner, axis);
    }
  }
  const each = (data, size, times) => {  // every entry as often as it has vertices
    const out = new data.constructor(data.length * times);
    for (let i = 0, k = 0; i < data.length; i += size) {
      for (let n = 0; n < times; n++) for (let a = 0; a < size; a++) out[k++] = data[i + a];
    }
    return out;
  };
  const over = (pattern, times) => {  // one pattern for every entry
    const out = new Int8Array(pattern.length * times);
    for (let n = 0; n < times; n++) out.set(pattern, n * pattern.length);
    return out;
  };
  const ball = [];
  const rings = 10, around = 16;
  const spot = (i, k) => {
    const z = Math.PI * i / rings, a = 2 * Math.PI * k / around;
    return [Math.sin(z) * Math.cos(a), Math.sin(z) * Math.sin(a), Math.cos(z)];
  };
  for (let i = 0; i < rings; i++) {
    for (let k = 0; k < around; k++) {
      const [p, q, r, s] = [spot(i, k), spot(i + 1, k), spot(i + 1, k + 1), spot(i, k + 1)];
      ball.push(...p, ...q, ...r, ...p, ...r, ...s);
    }
  }
  const ballBuffer = buffer(new Float32Array(ball));

  function layout(parts, index) {  // [location, size, data, kind, per instance, stride, offset]
    const array = gl.createVertexArray(), owned = [];
    gl.bindVertexArray(array);
    for (const [location, size, data, kind, step, stride, offset] of parts) {
      if (data instanceof WebGLBuffer) gl.bindBuffer(gl.ARRAY_BUFFER, data);
      else owned.push(buffer(data));
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, size, kind, kind === gl.UNSIGNED_BYTE, stride, offset);
      gl.vertexAttribDivisor(location, step);
    }
    if (index) owned.push(buffer(index, gl.ELEMENT_ARRAY_BUFFER));
    gl.bindVertexArray(null);
    return { array, free() { owned.forEach((b) => gl.deleteBuffer(b)); gl.deleteVertexArray(array); } };
  }
  const F = gl.FLOAT, B = gl.UNSIGNED_BYTE, S = gl.BYTE;
  const make = {
    mesh: (vertex, face) => ({
      kind: "mesh", count: face.length, ...layout([[0, 3, vertex, F, 0, 0, 0]], face) }),
    lines: (ends, colour, look = {}) => {
      const count = ends.length / 6, shared = each(ends, 6, 6);
      return { kind: "lines", count: 6 * count, width: 2, dash: 0, ...look,
        ...layoutShared([[0, 2, over(quad, count), S, 0, 0, 0]], shared, [[1, 3, 24, 0], [2, 3, 24, 12]],
          each(colour, 4, 6), 3, 0) };
    },
    thin: (ends, colour) => ({ kind: "thin", count: ends.length / 3, colour, ...layout([[0, 3, ends, F, 0, 0, 0]]) }),
    points: (place, colour, look = {}) => ({
      kind: "points", count: place.length / 3, width: 6, lift: 1e-4, ring: 0.22, square: 0, ...look,
      ...layout([[0, 3, place, F, 0, 0, 0], [1, 4, colour, B, 0, 0, 0]]) }),
    boxes: (place, half, colour) => {
      const count = place.length / 3;
      return { kind: "boxes", count: 18 * count, half, ...layout([[0, 4, over(cube, count), S, 0, 0, 0],
        [2, 3, each(place, 3, 18), F, 0, 0, 0], [3, 4, each(colour, 4, 18), B, 0, 0, 0]]) };
    },
    balls: (place, axes, colour) => ({
      kind: "balls", count: place.length / 3, clear: true,
      ...layoutShared([[0, 3, ballBuffer, F, 0, 0, 0], [1, 3, place, F, 1, 0, 0]], axes,
        [[2, 3, 36, 0], [3, 3, 36, 12], [4, 3, 36, 24]], colour, 5, 1) }),
  };
  function layoutShared(parts, data, views, colour, location, step) {
    const shared = buffer(data);
    const made = layout([...parts,
      ...views.map(([at, size, stride, offset]) => [at, size, shared, F, step, stride, offset]),
      [location, 4, colour, B, step, 0, 0]]);
    return { array: made.array, free() { gl.deleteBuffer(shared); made.free(); } };
  }

  function drawOne(item, view) {
    const { made, at } = programs[item.kind];
    gl.useProgram(made);
    gl.uniformMatrix4fv(at.M, false, view.matrix);
    if (at.size) gl.uniform2f(at.size, canvas.width, canvas.height);
    if (at.dpr) gl.uniform1f(at.dpr, view.dpr);
    gl.bindVertexArray(item.array);
    if (item.kind === "mesh") {
      gl.uniform3fv(at.base, item.base);
      gl.uniform1f(at.alpha, item.alpha);
      gl.enable(gl.POLYGON_OFFSET_FILL);
      gl.polygonOffset(1, 2);
      if (item.alpha < 1) {  // the nearest surface alone is blended
        gl.colorMask(false, false, false, false);
        gl.drawElements(gl.TRIANGLES, item.count, gl.UNSIGNED_INT, 0);
        gl.colorMask(true, true, true, true);
      }
      gl.drawElements(gl.TRIANGLES, item.count, gl.UNSIGNED_INT, 0);
      gl.disable(gl.POLYGON_OFFSET_FILL);
    } else if (item.kind === "lines") {
      gl.uniform1f(at.width, item.width);
      gl.uniform1f(at.dash, item.dash);
      gl.drawArrays(gl.TRIANGLES, 0, item.count);
    } else if (item.kind === "thin") {
      gl.uniform4fv(at.colour, item.colour);
      gl.drawArrays(gl.LINES, 0, item.count);
    } else if (item.kind === "points") {
      gl.uniform1f(at.width, item.width);
      gl.uniform1f(at.lift, item.lift);
      gl.uniform1f(at.ring, item.ring);
      gl.uniform1f(at.square, item.square);
      gl.uniform3fv(at.rim, view.rim);
      gl.drawArrays(gl.POINTS, 0, item.count);
    } else if (item.kind === "boxes") {
      gl.uniform3fv(at.half_, item.half);
      gl.uniform3fv(at.eye, view.eye);
      gl.drawArrays(gl.TRIANGLES, 0, item.count);
    } else {
      gl.drawArraysInstanced(gl.TRIANGLES, 0, ball.length / 3, item.count);
    }
  }

  // Opaque things first, then the buildings, which veil what is behind them, then clear things.
  function render(view, items) {
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(...view.background, 1);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    gl.depthMask(true);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const veil = items.filter((item) => item.kind === "mesh" && item.alpha < 1);
    const clear = items.filter((item) => item.clear);
    for (const item of items) if (!veil.includes(item) && !item.clear) drawOne(item, view);
    for (const item of veil) drawOne(item, view);
    gl.depthMask(false);
    for (const item of clear) drawOne(item, view);
    gl.depthMask(true);
    gl.bindVertexArray(null);
  }
  return { make, render, gl };
}

// A camera that goes round a place: angles [rad], distance [m], matrices by columns.
function makeCamera() {
  const camera = { at: [0, 0, 0], azimuth: -2.2, elevation: 0.75, distance: 100, wide: 1, high: 1, shift: [0, 0] };
  // The free part of the window [px]: its middle looks at the place, and it all is within the view.
  camera.frame = (width, height, left, top, right, bottom) => {
    camera.focal = Math.min(right - left, bottom - top) / 0.73;  // 40 degrees
    [camera.wide, camera.high] = [2 * camera.focal / width, 2 * camera.focal / height];
    camera.shift = [(left + right) / width - 1, 1 - (top + bottom) / height];
  };
  camera.eye = () => {
    const c = Math.cos(camera.elevation), s = Math.sin(camera.elevation);
    const away = [c * Math.cos(camera.azimuth), c * Math.sin(camera.azimuth), s];
    return camera.at.map((value, i) => value + camera.distance * away[i]);
  };
  camera.axes = () => {  // right, up, towards the eye
    const a = camera.azimuth, e = camera.elevation;
    const right = [-Math.sin(a), Math.cos(a), 0];
    const back = [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)];
    const up = [-Math.sin(e) * Math.cos(a), -Math.sin(e) * Math.sin(a), Math.cos(e)];
    return [right, up, back];
  };
  camera.matrix = (reach) => {
    const [r, u, b] = camera.axes(), eye = camera.eye();
    const dot = (p, q) => p[0] * q[0] + p[1] * q[1] + p[2] * q[2];
    const near = Math.max(camera.distance * 0.02, 0.05), { wide, high, shift: [x, y] } = camera;
    const far = camera.distance * 2 + reach * 3;
    const z = (far + near) / (near - far), w = 2 * far * near / (near - far);
    const move = [-dot(r, eye), -dot(u, eye), -dot(b, eye)];
    const column = (i) => [wide * r[i] - x * b[i], high * u[i] - y * b[i], z * b[i], -b[i]];
    return new Float32Array([...column(0), ...column(1), ...column(2),
      wide * move[0] - x * move[2], high * move[1] - y * move[2], z * move[2] + w, -move[2]]);
  };
  camera.ray = (x, y) => {  // x, y from -1 to 1
    const [r, u, b] = camera.axes();
    const [p, q] = [(x - camera.shift[0]) / camera.wide, (y - camera.shift[1]) / camera.high];
    return [0, 1, 2].map((i) => p * r[i] + q * u[i] - b[i]);
  };
  return camera;
}

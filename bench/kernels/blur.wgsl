struct Size { width: u32, height: u32 }
@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> blurred: array<vec4f>;
var<immediate> size: Size;

const WEIGHTS = array<f32, 9>(
    0.0162162, 0.054054, 0.1216216, 0.1945946, 0.227027, 0.1945946, 0.1216216, 0.054054, 0.0162162);

@compute @workgroup_size(64) fn horizontal(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= size.width) { return; }
    var sum = vec4f();
    for (var d = 0; d < 9; d++) {
        let x = clamp(i32(id.x) + d - 4, 0, i32(size.width) - 1);
        sum += source[id.y * size.width + u32(x)] * WEIGHTS[d];
    }
    blurred[id.y * size.width + id.x] = sum;
}

@compute @workgroup_size(64) fn vertical(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= size.width) { return; }
    var sum = vec4f();
    for (var d = 0; d < 9; d++) {
        let y = clamp(i32(id.y) + d - 4, 0, i32(size.height) - 1);
        sum += source[u32(y) * size.width + id.x] * WEIGHTS[d];
    }
    blurred[id.y * size.width + id.x] = sum;
}

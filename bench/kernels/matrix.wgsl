@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> product: array<f32>;
var<immediate> side: u32;
var<workgroup> tile_a: array<array<f32, 16>, 16>;
var<workgroup> tile_b: array<array<f32, 16>, 16>;

@compute @workgroup_size(16, 16) fn matrix(@builtin(global_invocation_id) id: vec3u,
    @builtin(local_invocation_id) local: vec3u) {
    var sum = 0.0;
    for (var tile = 0u; tile < side; tile += 16u) {
        tile_a[local.y][local.x] = a[id.y * side + tile + local.x];
        tile_b[local.y][local.x] = b[(tile + local.y) * side + id.x];
        workgroupBarrier();
        for (var k = 0u; k < 16u; k++) { sum += tile_a[local.y][k] * tile_b[k][local.x]; }
        workgroupBarrier();
    }
    product[id.y * side + id.x] = sum;
}

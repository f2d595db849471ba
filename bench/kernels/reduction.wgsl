@group(0) @binding(0) var<storage, read> data: array<f32>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
var<immediate> count: u32;
var<workgroup> partial: array<f32, 256>;

@compute @workgroup_size(256) fn reduction(@builtin(global_invocation_id) id: vec3u,
    @builtin(local_invocation_index) i: u32, @builtin(workgroup_id) group: vec3u) {
    partial[i] = select(0.0, data[id.x], id.x < count);
    workgroupBarrier();
    for (var half = 128u; half > 0u; half >>= 1u) {
        if (i < half) { partial[i] += partial[i + half]; }
        workgroupBarrier();
    }
    if (i == 0u) { sums[group.x] = partial[0]; }
}

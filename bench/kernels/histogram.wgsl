@group(0) @binding(0) var<storage, read> values: array<u32>;
@group(0) @binding(1) var<storage, read_write> bins: array<atomic<u32>, 256>;
var<workgroup> own: array<atomic<u32>, 256>;

// Each invocation counts 64 values, neighbours next to one another.
@compute @workgroup_size(256) fn histogram(@builtin(local_invocation_index) i: u32,
    @builtin(workgroup_id) group: vec3u) {
    let start = group.x * 16384u + i;
    for (var k = 0u; k < 64u; k++) { atomicAdd(&own[values[start + k * 256u] & 255u], 1u); }
    workgroupBarrier();
    atomicAdd(&bins[i], atomicLoad(&own[i]));
}

// Sums of blocks of 1024 words, the blocks' own sums, and what lies before a block added to it.
@group(0) @binding(0) var<storage, read> source: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> sums: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> blocks: array<u32>;
var<workgroup> partial: array<u32, 256>;

@compute @workgroup_size(256) fn scan(@builtin(global_invocation_id) id: vec3u,
    @builtin(local_invocation_index) i: u32, @builtin(workgroup_id) group: vec3u) {
    var four = source[id.x];
    four.y += four.x;
    four.z += four.y;
    four.w += four.z;
    partial[i] = four.w;
    workgroupBarrier();
    for (var step = 1u; step < 256u; step <<= 1u) {
        var before = 0u;
        if (i >= step) { before = partial[i - step]; }
        workgroupBarrier();
        partial[i] += before;
        workgroupBarrier();
    }
    sums[id.x] = four + (partial[i] - four.w);
    if (i == 255u) { blocks[group.x] = partial[i]; }
}

@compute @workgroup_size(256) fn add(@builtin(global_invocation_id) id: vec3u,
    @builtin(workgroup_id) group: vec3u) {
    if (group.x > 0u) { sums[id.x] += blocks[group.x - 1u]; }
}

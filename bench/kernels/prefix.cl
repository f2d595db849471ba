kernel __attribute__((reqd_work_group_size(256, 1, 1)))
void scan(global const uint4 *source, global uint4 *sums, global uint *blocks) {
    local uint partial[256];
    uint id = get_global_id(0), i = get_local_id(0);
    uint4 four = source[id];
    four.y += four.x;
    four.z += four.y;
    four.w += four.z;
    partial[i] = four.w;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint step = 1; step < 256; step <<= 1) {
        uint before = i >= step ? partial[i - step] : 0;
        barrier(CLK_LOCAL_MEM_FENCE);
        partial[i] += before;
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    sums[id] = four + (partial[i] - four.w);
    if (i == 255) blocks[get_group_id(0)] = partial[i];
}

kernel __attribute__((reqd_work_group_size(256, 1, 1)))
void add(global uint4 *sums, global const uint *blocks) {
    uint group = get_group_id(0);
    if (group > 0) sums[get_global_id(0)] += blocks[group - 1];
}

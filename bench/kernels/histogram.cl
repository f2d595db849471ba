kernel __attribute__((reqd_work_group_size(256, 1, 1)))
void histogram(global const uint *values, global uint *bins) {
    local uint own[256];
    uint i = get_local_id(0), start = get_group_id(0) * 16384 + i;
    own[i] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint k = 0; k < 64; k++) atomic_inc(&own[values[start + k * 256] & 255]);
    barrier(CLK_LOCAL_MEM_FENCE);
    atomic_add(&bins[i], own[i]);
}

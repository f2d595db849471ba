kernel __attribute__((reqd_work_group_size(256, 1, 1)))
void reduction(global const float *data, global float *sums, uint count) {
    local float partial[256];
    uint id = get_global_id(0), i = get_local_id(0);
    partial[i] = id < count ? data[id] : 0.0f;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_ = 128; half_ > 0; half_ >>= 1) {
        if (i < half_) partial[i] += partial[i + half_];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (i == 0) sums[get_group_id(0)] = partial[0];
}

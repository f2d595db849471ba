uint low(uint pair, uint reach) { return (pair & ~(reach - 1)) * 2 + (pair & (reach - 1)); }

void exchange(local uint *block, uint i, uint reach, bool up) {
    uint at = low(i, reach), a = block[at], b = block[at + reach];
    block[at] = up ? min(a, b) : max(a, b);
    block[at + reach] = up ? max(a, b) : min(a, b);
}

kernel __attribute__((reqd_work_group_size(256, 1, 1)))
void blocks(global uint *words) {
    local uint block[512];
    uint id = get_global_id(0), i = get_local_id(0), start = get_group_id(0) * 512;
    block[i] = words[start + i];
    block[i + 256] = words[start + i + 256];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint run = 2; run <= 512; run <<= 1)
        for (uint reach = run >> 1; reach > 0; reach >>= 1) {
            exchange(block, i, reach, (id & (run >> 1)) == 0);
            barrier(CLK_LOCAL_MEM_FENCE);
        }
    words[start + i] = block[i];
    words[start + i + 256] = block[i + 256];
}

kernel __attribute__((reqd_work_group_size(256, 1, 1)))
void far(global uint *words, uint run, uint reach) {
    uint id = get_global_id(0), at = low(id, reach), a = words[at], b = words[at + reach];
    bool up = (id & (run >> 1)) == 0;
    words[at] = up ? min(a, b) : max(a, b);
    words[at + reach] = up ? max(a, b) : min(a, b);
}

kernel __attribute__((reqd_work_group_size(256, 1, 1)))
void near(global uint *words, uint run, uint unused) {
    local uint block[512];
    uint id = get_global_id(0), i = get_local_id(0), start = get_group_id(0) * 512;
    block[i] = words[start + i];
    block[i + 256] = words[start + i + 256];
    barrier(CLK_LOCAL_MEM_FENCE);
    bool up = (id & (run >> 1)) == 0;
    for (uint reach = 256; reach > 0; reach >>= 1) {
        exchange(block, i, reach, up);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    words[start + i] = block[i];
    words[start + i + 256] = block[i + 256];
}

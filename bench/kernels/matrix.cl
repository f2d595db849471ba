kernel __attribute__((reqd_work_group_size(16, 16, 1)))
void matrix(global const float *a, global const float *b, global float *product, uint side) {
    local float tile_a[16][16], tile_b[16][16];
    uint x = get_global_id(0), y = get_global_id(1), i = get_local_id(0), j = get_local_id(1);
    float sum = 0;
    for (uint tile = 0; tile < side; tile += 16) {
        tile_a[j][i] = a[y * side + tile + i];
        tile_b[j][i] = b[(tile + j) * side + x];
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint k = 0; k < 16; k++) sum += tile_a[j][k] * tile_b[k][i];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    product[y * side + x] = sum;
}

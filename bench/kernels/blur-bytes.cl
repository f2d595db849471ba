constant float weights[9] = {
    0.0162162f, 0.054054f, 0.1216216f, 0.1945946f, 0.227027f, 0.1945946f, 0.1216216f, 0.054054f, 0.0162162f};

uchar4 packed(float4 sum) { return convert_uchar4(clamp(sum, 0.0f, 1.0f) * 255.0f + 0.5f); }

kernel void horizontal(global const uchar4 *source, global uchar4 *blurred, uint width, uint height) {
    int x = get_global_id(0), y = get_global_id(1);
    float4 sum = 0;
    for (int d = 0; d < 9; d++)
        sum += convert_float4(source[y * width + clamp(x + d - 4, 0, (int)width - 1)]) / 255.0f * weights[d];
    blurred[y * width + x] = packed(sum);
}

kernel void vertical(global const uchar4 *source, global uchar4 *blurred, uint width, uint height) {
    int x = get_global_id(0), y = get_global_id(1);
    float4 sum = 0;
    for (int d = 0; d < 9; d++)
        sum += convert_float4(source[clamp(y + d - 4, 0, (int)height - 1) * width + x]) / 255.0f * weights[d];
    blurred[y * width + x] = packed(sum);
}

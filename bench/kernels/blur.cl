constant float weights[9] = {
    0.0162162f, 0.054054f, 0.1216216f, 0.1945946f, 0.227027f, 0.1945946f, 0.1216216f, 0.054054f, 0.0162162f};

kernel void horizontal(global const float4 *source, global float4 *blurred, uint width, uint height) {
    int x = get_global_id(0), y = get_global_id(1);
    float4 sum = 0;
    for (int d = 0; d < 9; d++)
        sum += source[y * width + clamp(x + d - 4, 0, (int)width - 1)] * weights[d];
    blurred[y * width + x] = sum;
}

kernel void vertical(global const float4 *source, global float4 *blurred, uint width, uint height) {
    int x = get_global_id(0), y = get_global_id(1);
    float4 sum = 0;
    for (int d = 0; d < 9; d++)
        sum += source[clamp(y + d - 4, 0, (int)height - 1) * width + x] * weights[d];
    blurred[y * width + x] = sum;
}

kernel void saxpy(global const float *x, global float *y) {
    size_t i = get_global_id(0);
    y[i] = 2.5f * x[i] + y[i];
}

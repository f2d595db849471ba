constant sampler_t linear = CLK_NORMALIZED_COORDS_TRUE | CLK_ADDRESS_CLAMP_TO_EDGE | CLK_FILTER_LINEAR;

kernel void resize(read_only image2d_t picture, write_only image2d_t resized) {
    int2 id = (int2)(get_global_id(0), get_global_id(1)), size = get_image_dim(resized);
    if (id.x >= size.x || id.y >= size.y) return;
    float2 at = (convert_float2(id) + 0.5f) / convert_float2(size);
    write_imagef(resized, id, read_imagef(picture, linear, at));
}

@group(0) @binding(0) var picture: texture_2d<f32>;
@group(0) @binding(1) var linear: sampler;
@group(0) @binding(2) var resized: texture_storage_2d<rgba8unorm, write>;

@compute @workgroup_size(16, 8) fn resize(@builtin(global_invocation_id) id: vec3u) {
    let size = textureDimensions(resized);
    if (any(id.xy >= size)) { return; }
    let at = (vec2f(id.xy) + 0.5) / vec2f(size);
    textureStore(resized, id.xy, textureSampleLevel(picture, linear, at, 0.0));
}

// A separable blur of one mip level, and a picture of all levels side by side.

@group(0) @binding(0) var source: texture_2d<f32>;
@group(0) @binding(1) var target_: texture_storage_2d<rgba8unorm, write>;

// A Gaussian of two texels, cut at three of its widths, as the weights of a texel and of its neighbours.
const WEIGHTS = array<f32, 7>(
    0.1996756, 0.1762131, 0.1211094, 0.0648252, 0.0270232, 0.0087731, 0.0022182,
);

/// The weighted mean of the texels along one axis; the edge repeats.
fn blur(at: vec2i, axis: vec2i) -> vec4f {
    let last = vec2i(textureDimensions(source)) - 1;
    var weights = WEIGHTS;
    var sum = textureLoad(source, at, 0) * weights[0];
    for (var i = 1; i < 7; i++) {
        let before = textureLoad(source, clamp(at - i * axis, vec2i(0), last), 0);
        let behind = textureLoad(source, clamp(at + i * axis, vec2i(0), last), 0);
        sum += (before + behind) * weights[i];
    }
    return sum;
}

fn inside(at: vec2i) -> bool {
    return all(at < vec2i(textureDimensions(target_)));
}

@compute @workgroup_size(16, 16)
fn blur_horizontal(@builtin(global_invocation_id) id: vec3u) {
    let at = vec2i(id.xy);
    if inside(at) { textureStore(target_, at, blur(at, vec2i(1, 0))); }
}

@compute @workgroup_size(16, 16)
fn blur_vertical(@builtin(global_invocation_id) id: vec3u) {
    let at = vec2i(id.xy);
    if inside(at) { textureStore(target_, at, blur(at, vec2i(0, 1))); }
}

// Level 0 stands at the left, the smaller levels in a column at its right, from the top down.
@compute @workgroup_size(16, 16)
fn compose(@builtin(global_invocation_id) id: vec3u) {
    let at = vec2i(id.xy);
    if !inside(at) { return; }
    var color = vec4f(0.0, 0.0, 0.0, 1.0);
    var corner = vec2i(0);
    for (var level = 0; level < i32(textureNumLevels(source)); level++) {
        let size = vec2i(textureDimensions(source, level));
        let place = at - corner;
        if all(place >= vec2i(0)) && all(place < size) { color = textureLoad(source, place, level); }
        if level == 0 { corner = vec2i(size.x, 0); } else { corner.y += size.y; }
    }
    textureStore(target_, at, color);
}

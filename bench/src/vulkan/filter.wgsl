// An unsharp mask in whole numbers, so that all drivers give the same bytes: a picture of packed `rgba8` words gets more
// contrast, and beside that is blurred in two steps; the difference of both is added to the first.

// A Gaussian of two texels, as the weights of a texel and of its neighbours; all together are 4096.
const WEIGHTS = array<u32, 7>(816u, 722u, 496u, 266u, 111u, 36u, 9u);

fn unpack(word: u32) -> vec4u { return (vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u); }

fn pack(color: vec4u) -> u32 {
    let parts = color << vec4u(0u, 8u, 16u, 24u);
    return parts.x | parts.y | parts.z | parts.w;
}

fn texel(at: vec2i) -> vec4u {
    let inside = clamp(at, vec2i(0), vec2i(WIDTH - 1, HEIGHT - 1));
    return unpack(source[inside.y * WIDTH + inside.x]);
}

/// The weighted mean of the texels along one axis; the edge repeats.
fn blur(at: vec2i, axis: vec2i) -> u32 {
    var weights = WEIGHTS;
    var sum = texel(at) * weights[0] + vec4u(2048u);
    for (var i = 1; i < 7; i++) {
        sum += (texel(at - i * axis) + texel(at + i * axis)) * weights[i];
    }
    return pack(sum >> vec4u(12u));
}

fn inside(at: vec2i) -> bool { return at.x < WIDTH && at.y < HEIGHT; }

@compute @workgroup_size(16, 8) fn blur_across(@builtin(global_invocation_id) id: vec3u) {
    let at = vec2i(id.xy);
    if inside(at) { words[at.y * WIDTH + at.x] = blur(at, vec2i(1, 0)); }
}

@compute @workgroup_size(16, 8) fn blur_down(@builtin(global_invocation_id) id: vec3u) {
    let at = vec2i(id.xy);
    if inside(at) { words[at.y * WIDTH + at.x] = blur(at, vec2i(0, 1)); }
}

@compute @workgroup_size(16, 8) fn contrast(@builtin(global_invocation_id) id: vec3u) {
    let at = vec2i(id.xy);
    if inside(at) {
        let color = texel(at);
        words[at.y * WIDTH + at.x] = pack(color * color * (vec4u(765u) - 2u * color) / vec4u(65025u));
    }
}

@compute @workgroup_size(16, 8) fn sharpen(@builtin(global_invocation_id) id: vec3u) {
    let at = vec2i(id.xy);
    if inside(at) {
        let place = at.y * WIDTH + at.x;
        let sharp = 2 * vec4i(texel(at)) - vec4i(unpack(second[place]));
        words[place] = pack(vec4u(clamp(sharp, vec4i(0), vec4i(255))));
    }
}

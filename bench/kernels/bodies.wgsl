// A body is its place and its mass.
@group(0) @binding(0) var<storage, read> bodies: array<vec4f>;
@group(0) @binding(1) var<storage, read> speeds: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> moved: array<vec4f>;
var<immediate> count: u32;
var<workgroup> tile: array<vec4f, 256>;

@compute @workgroup_size(256) fn bodies_step(@builtin(global_invocation_id) id: vec3u,
    @builtin(local_invocation_index) i: u32) {
    let own = bodies[id.x];
    var pull = vec3f();
    for (var start = 0u; start < count; start += 256u) {
        tile[i] = bodies[start + i];
        workgroupBarrier();
        for (var k = 0u; k < 256u; k++) {
            let other = tile[k];
            let way = other.xyz - own.xyz;
            let near = inverseSqrt(dot(way, way) + 0.01);
            pull += way * (other.w * near * near * near);
        }
        workgroupBarrier();
    }
    let speed = speeds[id.x].xyz + pull * 0.001;
    moved[id.x] = vec4f(own.xyz + speed * 0.001, own.w);
}

kernel __attribute__((reqd_work_group_size(256, 1, 1)))
void bodies_step(global const float4 *bodies, global const float4 *speeds, global float4 *moved, uint count) {
    local float4 tile[256];
    uint id = get_global_id(0), i = get_local_id(0);
    float4 own = bodies[id];
    float3 pull = 0;
    for (uint start = 0; start < count; start += 256) {
        tile[i] = bodies[start + i];
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint k = 0; k < 256; k++) {
            float4 other = tile[k];
            float3 way = other.xyz - own.xyz;
            float near = rsqrt(dot(way, way) + 0.01f);
            pull += way * (other.w * near * near * near);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    float3 speed = speeds[id].xyz + pull * 0.001f;
    moved[id] = (float4)(own.xyz + speed * 0.001f, own.w);
}

// Stages of a bitonic network: runs of `run` words become sorted, by exchanges over `reach`.
struct Stage { run: u32, reach: u32 }
@group(0) @binding(0) var<storage, read_write> words: array<u32>;
var<immediate> stage: Stage;
var<workgroup> block: array<u32, 512>;

fn low(pair: u32, reach: u32) -> u32 { return (pair & ~(reach - 1u)) * 2u + (pair & (reach - 1u)); }

fn exchange(i: u32, reach: u32, up: bool) {
    let at = low(i, reach);
    let a = block[at];
    let b = block[at + reach];
    block[at] = select(max(a, b), min(a, b), up);
    block[at + reach] = select(min(a, b), max(a, b), up);
}

@compute @workgroup_size(256) fn blocks(@builtin(global_invocation_id) id: vec3u,
    @builtin(local_invocation_index) i: u32, @builtin(workgroup_id) group: vec3u) {
    let start = group.x * 512u;
    block[i] = words[start + i];
    block[i + 256u] = words[start + i + 256u];
    workgroupBarrier();
    for (var run = 2u; run <= 512u; run <<= 1u) {
        for (var reach = run >> 1u; reach > 0u; reach >>= 1u) {
            exchange(i, reach, (id.x & (run >> 1u)) == 0u);
            workgroupBarrier();
        }
    }
    words[start + i] = block[i];
    words[start + i + 256u] = block[i + 256u];
}

@compute @workgroup_size(256) fn far(@builtin(global_invocation_id) id: vec3u) {
    let at = low(id.x, stage.reach);
    let a = words[at];
    let b = words[at + stage.reach];
    let up = (id.x & (stage.run >> 1u)) == 0u;
    words[at] = select(max(a, b), min(a, b), up);
    words[at + stage.reach] = select(min(a, b), max(a, b), up);
}

@compute @workgroup_size(256) fn near(@builtin(global_invocation_id) id: vec3u,
    @builtin(local_invocation_index) i: u32, @builtin(workgroup_id) group: vec3u) {
    let start = group.x * 512u;
    block[i] = words[start + i];
    block[i + 256u] = words[start + i + 256u];
    workgroupBarrier();
    let up = (id.x & (stage.run >> 1u)) == 0u;
    for (var reach = 256u; reach > 0u; reach >>= 1u) {
        exchange(i, reach, up);
        workgroupBarrier();
    }
    words[start + i] = block[i];
    words[start + i + 256u] = block[i + 256u];
}

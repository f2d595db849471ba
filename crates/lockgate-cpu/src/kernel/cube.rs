//! Where a direction meets a cube: its face, the place on it, and the texels across the face's edges.

/// For each face the axes, with their signs, that lead right, down and out of it.
const FACES: [[(usize, i8); 3]; 6] = [
    [(2, -1), (1, -1), (0, 1)],
    [(2, 1), (1, -1), (0, -1)],
    [(0, 1), (2, 1), (1, 1)],
    [(0, 1), (2, -1), (1, -1)],
    [(0, 1), (1, -1), (2, 1)],
    [(0, -1), (1, -1), (2, -1)],
];

/// The face that a direction meets. Of equally long axes z is taken before y, and y before x, as in Vulkan.
fn face_of(ray: [f32; 3]) -> u32 {
    let [x, y, z] = ray.map(f32::abs);
    let axis = if z >= x && z >= y { 2 } else { usize::from(y >= x) };
    2 * axis as u32 + u32::from(ray[axis] < 0.0)
}

/// A direction by what it goes right, down and out of a face.
fn turned(face: u32, ray: [f32; 3]) -> [f32; 3] {
    FACES[face as usize].map(|(axis, sign)| f32::from(sign) * ray[axis])
}

/// The face that a direction meets, and the normalized coordinates there.
pub(super) fn place(ray: [f32; 3]) -> (u32, [f32; 2]) {
    let face = face_of(ray);
    let [right, down, out] = turned(face, ray);
    (face, [right, down].map(|along| (along / out + 1.0) / 2.0))
}

/// How fast the coordinates on its face change where a direction changes by `change`.
pub(super) fn speed(ray: [f32; 3], change: [f32; 3]) -> [f32; 2] {
    let face = face_of(ray);
    let ([right, down, out], [by_right, by_down, by_out]) = (turned(face, ray), turned(face, change));
    [(right, by_right), (down, by_down)].map(|(along, by)| (by - along / out * by_out) / out / 2.0)
}

/// The texels, as x, y and face, that stand for the one at `at` of a face, which may lie one beyond an edge: one, which may be
/// of the next face, or the three around a corner, in whose midst there is none.
pub(super) fn texels(face: u32, size: u32, at: [i32; 2]) -> Vec<[u32; 3]> {
    let size = size.max(1);
    match texel(face, size, at) {
        Some(texel) => vec![texel],
        None => {
            let [x, y] = at.map(|at| at.clamp(0, size as i32 - 1));
            [[x, y], [at[0], y], [x, at[1]]].into_iter().filter_map(|at| texel(face, size, at)).collect()
        }
    }
}

fn texel(face: u32, size: u32, at: [i32; 2]) -> Option<[u32; 3]> {
    let inside = at.map(|at| 0 <= at && at < size as i32);
    if inside == [true; 2] {
        return Some([at[0] as u32, at[1] as u32, face]);
    }
    // Texels are two wide here, so that their middles are whole numbers, which floats hold exactly.
    let side = size as f32;
    let [right, down] = at.map(|at| (2 * at + 1) as f32 - side);
    let folded = match inside {
        [false, false] => return None,
        [false, true] => [right.clamp(-side, side), down, side - 1.0],
        _ => [right, down.clamp(-side, side), side - 1.0],
    };
    let mut ray = [0.0; 3];
    for ((axis, sign), along) in FACES[face as usize].into_iter().zip(folded) {
        ray[axis] = f32::from(sign) * along;
    }
    let face = face_of(ray);
    let [right, down, _] = turned(face, ray);
    let number = |along: f32| ((along + side) / 2.0) as u32;
    Some([number(right), number(down), face])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The middle of a texel of a cube with sides of two, so that texels are `2 / size` wide.
    fn middle([x, y, face]: [u32; 3], size: u32) -> [f32; 3] {
        let along = |at: u32| (2 * at + 1) as f32 / size as f32 - 1.0;
        let mut ray = [0.0; 3];
        for ((axis, sign), along) in FACES[face as usize].into_iter().zip([along(x), along(y), 1.0]) {
            ray[axis] = f32::from(sign) * along;
        }
        ray
    }

    fn distance(a: [f32; 3], b: [f32; 3]) -> f32 {
        (0..3).map(|i| (a[i] - b[i]) * (a[i] - b[i])).sum::<f32>().sqrt()
    }

    #[test]
    fn what_lies_across_an_edge_is_next_to_it_in_space() {
        for (size, face) in [1, 2, 5].into_iter().flat_map(|size| (0..6).map(move |face| (size, face))) {
            let last = size as i32 - 1;
            for i in 0..=last {
                for (at, inside) in [
                    ([-1, i], [0, i]),
                    ([last + 1, i], [last, i]),
                    ([i, -1], [i, 0]),
                    ([i, last + 1], [i, last]),
                ] {
                    let [across] = texels(face, size, at)[..] else { panic!("one texel") };
                    assert_ne!(across[2], face);
                    let here = middle([inside[0] as u32, inside[1] as u32, face], size);
                    let apart = distance(here, middle(across, size));
                    assert!(
                        (apart - 2f32.sqrt() / size as f32).abs() < 1e-6,
                        "{size} {face} {at:?}: {across:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn three_faces_meet_at_a_corner() {
        for face in 0..6 {
            for at in [[-1, -1], [4, -1], [-1, 4], [4, 4]] {
                let around = texels(face, 4, at);
                assert_eq!(around.len(), 3);
                for (a, b) in [(0, 1), (1, 2), (2, 0)] {
                    assert_ne!(around[a][2], around[b][2]);
                    let apart = distance(middle(around[a], 4), middle(around[b], 4));
                    assert!((apart - 2f32.sqrt() / 4.0).abs() < 1e-6, "{face} {at:?}: {around:?}");
                }
            }
        }
    }

    #[test]
    fn speeds_are_differences() {
        for ray in [
            [0.9, 0.2, -0.3],
            [-0.8, 0.5, 0.1],
            [0.3, 1.0, 0.6],
            [0.2, -0.7, -0.4],
            [0.1, 0.3, 0.5],
            [0.2, 0.1, -2.0],
        ] {
            let change = [0.3, -0.7, 0.45];
            let step = 1.0 / 4096.0;
            let (from, to) = (place(ray), place(std::array::from_fn(|i| ray[i] + step * change[i])));
            assert_eq!(from.0, to.0);
            for (axis, speed) in speed(ray, change).into_iter().enumerate() {
                let difference = (to.1[axis] - from.1[axis]) / step;
                assert!((speed - difference).abs() < 2e-3, "{ray:?}: {speed}, not {difference}");
            }
        }
    }
}

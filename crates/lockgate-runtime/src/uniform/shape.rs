//! Whether a value is the same in all invocations of a workgroup, part by part.

/// The most parts of a variable that are told apart: a store beyond goes to all of them.
const PARTS_MAX: u32 = 64;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// The same for all.
    Uniform,
    /// It may differ.
    Varying,
    /// Of members, components or elements, and whether those that are not listed are the same for all.
    Parts(Vec<Shape>, bool),
}

use Shape::{Parts, Uniform, Varying};

impl Shape {
    pub(super) fn of(uniform: bool) -> Shape {
        if uniform { Uniform } else { Varying }
    }

    /// Of a value that has just these parts.
    pub(super) fn parts(parts: impl IntoIterator<Item = Shape>) -> Shape {
        Parts(parts.into_iter().collect(), true)
    }

    pub(super) fn is_uniform(&self) -> bool {
        match self {
            Uniform => true,
            Varying => false,
            Parts(parts, rest) => *rest && parts.iter().all(Shape::is_uniform),
        }
    }

    /// The same of something that every part goes into.
    pub(super) fn whole(&self) -> Shape {
        Shape::of(self.is_uniform())
    }

    pub(super) fn part(&self, index: u32) -> Shape {
        match self {
            Uniform => Uniform,
            Varying => Varying,
            Parts(parts, rest) => parts.get(index as usize).cloned().unwrap_or(Shape::of(*rest)),
        }
    }

    /// Of a value that is one of both, or made of both part by part.
    pub(super) fn join(self, other: Shape) -> Shape {
        match (self, other) {
            (Uniform, one) | (one, Uniform) => one,
            (Varying, _) | (_, Varying) => Varying,
            (Parts(a, a_rest), Parts(b, b_rest)) => {
                let (most, rest) = (a.len().max(b.len()) as u32, a_rest && b_rest);
                let (a, b) = (Parts(a, a_rest), Parts(b, b_rest));
                Parts((0..most).map(|index| a.part(index).join(b.part(index))).collect(), rest)
            }
        }
    }

    /// Of the part at the end of a path; where an index is computed it may be any.
    pub(super) fn at(&self, path: &[Option<u32>]) -> Shape {
        match path.split_first() {
            None => self.clone(),
            Some((Some(index), rest)) => self.part(*index).at(rest),
            Some((None, _)) => self.whole(),
        }
    }

    /// Stores to the part at the end of a path.
    pub(super) fn set(&mut self, path: &[Option<u32>], value: Shape) {
        match path.split_first() {
            None => *self = value,
            Some((Some(index), rest)) if *index < PARTS_MAX => {
                let at = *index as usize;
                let (mut parts, others) = match std::mem::replace(self, Uniform) {
                    Parts(parts, others) => (parts, others),
                    whole => (Vec::new(), whole.is_uniform()),
                };
                if parts.len() <= at {
                    parts.resize(at + 1, Shape::of(others));
                }
                parts[at].set(rest, value);
                *self = Parts(parts, others);
            }
            // One of many parts.
            Some(_) => *self = std::mem::replace(self, Uniform).join(value.whole()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_changes_its_part() {
        let mut shape = Uniform;
        shape.set(&[Some(1), Some(2)], Varying);
        assert!(
            !shape.is_uniform() && shape.part(0).is_uniform() && shape.at(&[Some(1), Some(0)]).is_uniform()
        );
        assert_eq!(shape.at(&[Some(1), Some(2)]), Varying);
        assert_eq!(shape.at(&[None]), Varying);
        shape.set(&[Some(1), None], Uniform);
        assert!(!shape.is_uniform(), "it may be another element");
        shape.set(&[Some(1)], Uniform);
        assert!(shape.is_uniform());
        shape.set(&[None], Varying);
        assert!(!shape.part(7).is_uniform());
        shape.set(&[Some(0)], Uniform);
        assert!(shape.part(0).is_uniform() && !shape.is_uniform(), "the others differ still");
    }

    #[test]
    fn a_store_far_behind_goes_to_all() {
        let mut shape = Uniform;
        shape.set(&[Some(3)], Uniform);
        shape.set(&[Some(PARTS_MAX + 7)], Varying);
        assert!(!shape.part(PARTS_MAX).is_uniform() && !shape.part(3).is_uniform());
    }

    #[test]
    fn parts_are_joined_one_by_one() {
        let a = Shape::parts([Uniform, Varying]);
        let b = Shape::parts([Varying]);
        assert_eq!(a.clone().join(b), Shape::parts([Varying, Varying]));
        assert_eq!(a.clone().join(Uniform), a);
        assert_eq!(a.join(Varying), Varying);
    }
}

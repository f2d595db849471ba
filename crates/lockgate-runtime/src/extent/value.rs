//! What is known of a value for all invocations at once: a range, and where possible a sum of known multiples of ids.
//!
//! Numbers are the true ones, in `i128`; where WGSL would wrap around, nothing but the range of the type is kept.

use std::rc::Rc;

/// Something that differs between invocations or rounds of a loop.
pub(super) type Symbol = usize;

/// Components of `global_invocation_id`, `local_invocation_id` and `workgroup_id`; loops have the later symbols.
pub(super) const GLOBAL: Symbol = 0;
pub(super) const LOCAL: Symbol = 3;
pub(super) const GROUP: Symbol = 6;
pub(super) const LOOPS: Symbol = 9;

/// From and to, both included.
pub(super) type Bounds = (i128, i128);

/// Largest factor and constant of a sum, so that no sum leaves `i128`.
const FACTOR_MAX: i128 = 1 << 48;

/// Ends of ranges stay below this; no type of WGSL reaches it.
const END_MAX: i128 = 1 << 96;

fn ends(low: i128, high: i128) -> Bounds {
    (low.clamp(-END_MAX, END_MAX), high.clamp(-END_MAX, END_MAX))
}

/// The range of a symbol.
pub(super) fn at(of: &[Bounds], symbol: Symbol) -> Bounds {
    of.get(symbol).copied().unwrap_or(ANYTHING)
}

/// More than any type of WGSL holds.
pub(super) const ANYTHING: Bounds = (-(1 << 64), 1 << 64);

/// `constant` and for each term a symbol and its factor, which is not 0; sorted by symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Affine {
    pub(super) constant: i128,
    pub(super) terms: Vec<(Symbol, i128)>,
}

/// An integer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Int {
    pub(super) affine: Option<Affine>,
    pub(super) bounds: Bounds,
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cond {
    Unknown,
    Known(bool),
    /// `left - right` is below zero, zero, or above, as the three say.
    Compare(Rc<(Int, Int)>, [bool; 3]),
    Not(Rc<Cond>),
    And(Rc<(Cond, Cond)>),
}

impl Affine {
    pub(super) fn constant(constant: i128) -> Affine {
        Affine { constant, terms: Vec::new() }
    }

    /// `None` where the numbers grow beyond every use.
    fn scaled(&self, by: i128) -> Option<Affine> {
        if by == 0 {
            return Some(Affine::constant(0));
        }
        let scale = |factor: i128| factor.checked_mul(by).filter(|scaled| scaled.abs() <= FACTOR_MAX);
        let terms = self.terms.iter().map(|(symbol, factor)| Some((*symbol, scale(*factor)?)));
        Some(Affine { constant: scale(self.constant)?, terms: terms.collect::<Option<_>>()? })
    }

    fn plus(&self, other: &Affine) -> Affine {
        let mut terms = self.terms.clone();
        for (symbol, factor) in &other.terms {
            match terms.binary_search_by_key(symbol, |(own, _)| *own) {
                Ok(at) => terms[at].1 += factor,
                Err(at) => terms.insert(at, (*symbol, *factor)),
            }
        }
        terms.retain(|(_, factor)| *factor != 0);
        Affine { constant: self.constant + other.constant, terms }
    }

    pub(super) fn bounds(&self, of: &[Bounds]) -> Bounds {
        self.terms.iter().fold((self.constant, self.constant), |(low, high), (symbol, factor)| {
            let (from, to) = at(of, *symbol);
            let (a, b) = (from * factor, to * factor);
            (low + a.min(b), high + a.max(b))
        })
    }
}

impl Int {
    pub(super) fn constant(value: i128) -> Int {
        Int { affine: Some(Affine::constant(value)), bounds: (value, value) }
    }

    pub(super) fn between(low: i128, high: i128) -> Int {
        if low == high { Int::constant(low) } else { Int { affine: None, bounds: (low, high) } }
    }

    pub(super) fn symbol(symbol: Symbol, of: &[Bounds]) -> Int {
        let affine = Affine { constant: 0, terms: vec![(symbol, 1)] };
        Int { affine: Some(affine), bounds: at(of, symbol) }
    }

    /// Its range where the symbols have these.
    pub(super) fn range(&self, of: &[Bounds]) -> Bounds {
        let (low, high) = self.bounds;
        match &self.affine {
            Some(affine) => {
                let (from, to) = affine.bounds(of);
                (low.max(from), high.min(to))
            }
            None => (low, high),
        }
    }

    pub(super) fn known(&self, of: &[Bounds]) -> Option<i128> {
        let (low, high) = self.range(of);
        (low == high).then_some(low)
    }

    pub(super) fn plus(&self, other: &Int, of: &[Bounds]) -> Int {
        let affine = self.affine.as_ref().zip(other.affine.as_ref()).map(|(a, b)| a.plus(b));
        let affine = affine.filter(|sum| sum.constant.abs() <= FACTOR_MAX);
        let ((a, b), (c, d)) = (self.range(of), other.range(of));
        Int { affine, bounds: ends(a + c, b + d) }
    }

    pub(super) fn scaled(&self, by: i128, of: &[Bounds]) -> Int {
        let (a, b) = self.range(of);
        let affine = self.affine.as_ref().and_then(|affine| affine.scaled(by));
        let (a, b) = (a.saturating_mul(by), b.saturating_mul(by));
        Int { affine, bounds: ends(a.min(b), a.max(b)) }
    }

    pub(super) fn times(&self, other: &Int, of: &[Bounds]) -> Int {
        if let Some(factor) = other.known(of) {
            return self.scaled(factor, of);
        }
        if let Some(factor) = self.known(of) {
            return other.scaled(factor, of);
        }
        let ((a, b), (c, d)) = (self.range(of), other.range(of));
        let corners = [(a, c), (a, d), (b, c), (b, d)].map(|(left, right)| left.saturating_mul(right));
        let least = corners.into_iter().fold(i128::MAX, i128::min);
        Int { affine: None, bounds: ends(least, corners.into_iter().fold(i128::MIN, i128::max)) }
    }

    /// The same value where it fits the type; anything of the type where it may wrap around.
    pub(super) fn fit(self, limits: Bounds, of: &[Bounds]) -> Int {
        let (low, high) = self.range(of);
        if limits.0 <= low && high <= limits.1 {
            Int { bounds: (low, high), ..self }
        } else {
            Int { affine: None, bounds: limits }
        }
    }

    /// One of two values.
    pub(super) fn either(&self, other: &Int, of: &[Bounds]) -> Int {
        if self == other {
            return self.clone();
        }
        let ((a, b), (c, d)) = (self.range(of), other.range(of));
        Int::between(a.min(c), b.max(d))
    }
}

impl Cond {
    pub(super) fn compare(left: Int, right: Int, holds: [bool; 3]) -> Cond {
        Cond::Compare(Rc::new((left, right)), holds)
    }

    pub(super) fn not(self) -> Cond {
        match self {
            Cond::Known(known) => Cond::Known(!known),
            Cond::Unknown => Cond::Unknown,
            Cond::Not(inner) => (*inner).clone(),
            Cond::Compare(sides, holds) => Cond::Compare(sides, holds.map(|holds| !holds)),
            other => Cond::Not(Rc::new(other)),
        }
    }

    pub(super) fn and(self, other: Cond) -> Cond {
        match (self, other) {
            (Cond::Known(false), _) | (_, Cond::Known(false)) => Cond::Known(false),
            (Cond::Known(true), own) | (own, Cond::Known(true)) => own,
            (one, two) => Cond::And(Rc::new((one, two))),
        }
    }

    pub(super) fn or(self, other: Cond) -> Cond {
        self.not().and(other.not()).not()
    }
}

/// The invocations for which something runs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    /// For each symbol.
    pub(super) bounds: Vec<Bounds>,
    /// Which symbols conditions have narrowed.
    pub(super) narrowed: Vec<bool>,
    /// Whether it runs for all of these and not only for some.
    pub(super) certain: bool,
}

impl Path {
    /// Those for which a condition has a value; `None` if there are none.
    pub(super) fn narrow(&self, cond: &Cond, value: bool) -> Option<Path> {
        let mut path = self.clone();
        path.restrict(cond, value).then_some(path)
    }

    fn restrict(&mut self, cond: &Cond, value: bool) -> bool {
        match cond {
            Cond::Known(known) => *known == value,
            Cond::Unknown => {
                self.certain = false;
                true
            }
            Cond::Not(inner) => self.restrict(inner, !value),
            Cond::And(both) if value => self.restrict(&both.0, true) && self.restrict(&both.1, true),
            Cond::And(both) => {
                // Where one side holds for all, the other decides; else a box cannot say it.
                let [first, second] = [&both.0, &both.1].map(|side| self.narrow(side, false));
                match (first, second) {
                    (None, None) => return false,
                    (None, Some(path)) | (Some(path), None) => *self = path,
                    (Some(_), Some(_)) => self.certain = false,
                }
                true
            }
            Cond::Compare(sides, holds) => {
                let difference = sides.0.plus(&sides.1.scaled(-1, &self.bounds), &self.bounds);
                self.limit(&difference, if value { *holds } else { holds.map(|holds| !holds) })
            }
        }
    }

    /// Those for which a number has one of the signs.
    fn limit(&mut self, number: &Int, signs: [bool; 3]) -> bool {
        let (low, high) = number.range(&self.bounds);
        let possible = [low < 0 && signs[0], low <= 0 && high >= 0 && signs[1], high > 0 && signs[2]];
        let refused = [low < 0 && !signs[0], low <= 0 && high >= 0 && !signs[1], high > 0 && !signs[2]];
        if !possible.contains(&true) {
            return false;
        }
        if !refused.contains(&true) {
            return true;
        }
        let from = if possible[0] { low } else { i128::from(!possible[1]) };
        let to = if possible[2] { high } else { -i128::from(!possible[1]) };
        let hole = possible[0] && possible[2] && !possible[1];
        let Some(affine) = &number.affine else {
            self.certain = false;
            return true;
        };
        let differs = |(symbol, _): &&(Symbol, i128)| {
            let (low, high) = at(&self.bounds, *symbol);
            low != high
        };
        let single = affine.terms.iter().filter(differs).count() == 1;
        for (symbol, factor) in &affine.terms {
            // from <= constant + factor * x + rest <= to
            let own = at(&self.bounds, *symbol);
            let (whole_low, whole_high) = affine.bounds(&self.bounds);
            let (part_low, part_high) =
                ((own.0 * factor).min(own.1 * factor), (own.0 * factor).max(own.1 * factor));
            let (rest_low, rest_high) = (whole_low - part_low, whole_high - part_high);
            let (least, most) = (from - rest_high, to - rest_low);
            let (a, b) = if *factor > 0 {
                (ceil_div(least, *factor), most.div_euclid(*factor))
            } else {
                (ceil_div(-most, -factor), (-least).div_euclid(-factor))
            };
            let new = (own.0.max(a), own.1.min(b));
            if new.0 > new.1 {
                return false;
            }
            if new != own
                && let (Some(bounds), Some(narrowed)) =
                    (self.bounds.get_mut(*symbol), self.narrowed.get_mut(*symbol))
            {
                (*bounds, *narrowed) = (new, true);
            }
        }
        if !single || hole {
            self.certain = false;
        }
        true
    }

    /// Whether an expression of these symbols takes each of its values in some invocation on this path, if they are
    /// chosen freely: ids that depend on each other must not be mixed.
    pub(super) fn is_free(&self, terms: &[(Symbol, i128)], cut: bool) -> bool {
        let involved = |symbol: Symbol| {
            let (low, high) = at(&self.bounds, symbol);
            let named = low != high && terms.iter().any(|(own, _)| *own == symbol);
            named || self.narrowed.get(symbol) == Some(&true)
        };
        let global = (GLOBAL..LOCAL).any(involved);
        let own = (LOCAL..LOOPS).any(involved);
        self.certain && !(global && own) && !(own && cut)
    }
}

pub(super) fn ceil_div(a: i128, b: i128) -> i128 {
    -(-a).div_euclid(b)
}

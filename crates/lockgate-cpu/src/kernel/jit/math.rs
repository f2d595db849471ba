//! How built-in functions become scalar operations, step by step as `number` and the interpreter define them.

use naga::{BinaryOperator, Expression, Handle, MathFunction as Mf, TypeInner};

use super::{
    super::number::Num,
    ir::{Binary, Id, Op, Unary},
    lower::{Lowering, Refusal},
};

/// Added to a small integer, it leaves a float whose lowest bits are the integer's.
const WITH_ONES: f64 = 12_582_912.0;

impl Lowering<'_> {
    pub(super) fn float(&mut self, num: Num, value: f64) -> Id {
        self.constant(num, num.pack_float(value))
    }

    fn unary(&mut self, num: Num, op: Unary, a: Id) -> Id {
        self.op(num, Op::Unary(op, a))
    }

    fn select(&mut self, num: Num, c: Id, a: Id, b: Id) -> Id {
        self.op(num, Op::Select(c, a, b))
    }

    pub(super) fn math(
        &mut self,
        fun: Mf,
        arg: Handle<Expression>,
        rest: [Option<Handle<Expression>>; 3],
    ) -> Result<Vec<Id>, Refusal> {
        let num = self.num(arg)?;
        let inner = self.inner(arg)?;
        let mut arguments = vec![self.data(arg)?];
        for argument in rest.into_iter().flatten() {
            arguments.push(self.data(argument)?);
        }
        if let Some(ids) = self.whole_value(fun, num, inner, &arguments)? {
            return Ok(ids);
        }
        let count = arguments.iter().map(Vec::len).max().unwrap_or(0);
        (0..count)
            .map(|i| {
                let scalars: Vec<Id> =
                    arguments.iter().map(|ids| ids[if ids.len() == 1 { 0 } else { i }]).collect();
                self.componentwise(fun, num, &scalars)
            })
            .collect()
    }

    fn componentwise(&mut self, fun: Mf, num: Num, ids: &[Id]) -> Result<Id, Refusal> {
        let a = ids[0];
        let b = ids.get(1).copied().unwrap_or(a);
        let c = ids.get(2).copied().unwrap_or(a);
        Ok(match fun {
            Mf::Abs if !num.is_float() && !num.is_signed() => a,
            Mf::Abs => self.unary(num, Unary::Abs, a),
            Mf::Min => self.pair(num, Binary::Min, a, b),
            Mf::Max => self.pair(num, Binary::Max, a, b),
            Mf::Clamp => self.clamp(num, a, b, c),
            Mf::Sign => self.sign(num, a),
            _ if num.is_float() => self.float_function(fun, num, a, b, c)?,
            Mf::CountOneBits => self.unary(num, Unary::Ones, a),
            Mf::CountLeadingZeros => self.unary(num, Unary::LeadingZeros, a),
            Mf::CountTrailingZeros => self.unary(num, Unary::TrailingZeros, a),
            Mf::ReverseBits => self.unary(num, Unary::Reverse, a),
            Mf::FirstTrailingBit => {
                let zeros = self.unary(num, Unary::TrailingZeros, a);
                let (zero, none) = (self.constant(num, 0), self.constant(num, num.pack_int(-1)));
                let empty = self.pair(Num::Bool, Binary::Equal, a, zero);
                self.select(num, empty, none, zeros)
            }
            Mf::FirstLeadingBit => self.first_leading_bit(num, a),
            Mf::ExtractBits => self.extract_bits(num, a, b, c),
            Mf::InsertBits => self.insert_bits(num, a, b, c, ids.get(3).copied().unwrap_or(a)),
            _ => return Err("this built-in function"),
        })
    }

    fn clamp(&mut self, num: Num, a: Id, low: Id, high: Id) -> Id {
        let a = self.pair(num, Binary::Max, a, low);
        self.pair(num, Binary::Min, a, high)
    }

    fn sign(&mut self, num: Num, a: Id) -> Id {
        let bits = |v: i8| if num.is_float() { num.pack_float(v.into()) } else { num.pack_int(v.into()) };
        let (zero, one, minus) =
            (self.constant(num, bits(0)), self.constant(num, bits(1)), self.constant(num, bits(-1)));
        let positive = self.pair(Num::Bool, Binary::Greater, a, zero);
        let negative = self.pair(Num::Bool, Binary::Less, a, zero);
        let other = self.select(num, negative, minus, zero);
        self.select(num, positive, one, other)
    }

    fn float_function(&mut self, fun: Mf, num: Num, a: Id, b: Id, c: Id) -> Result<Id, Refusal> {
        use Binary::{Add, Divide, LessEqual, Multiply, Subtract};
        let (zero, one) = (self.float(num, 0.0), self.float(num, 1.0));
        Ok(match fun {
            Mf::Saturate => self.clamp(num, a, zero, one),
            Mf::Ceil => self.unary(num, Unary::Ceil, a),
            Mf::Floor => self.unary(num, Unary::Floor, a),
            Mf::Round => self.unary(num, Unary::Round, a),
            Mf::Trunc => self.unary(num, Unary::Trunc, a),
            Mf::Sqrt => self.unary(num, Unary::Sqrt, a),
            Mf::Fract => {
                let floor = self.unary(num, Unary::Floor, a);
                self.pair(num, Subtract, a, floor)
            }
            Mf::InverseSqrt => {
                let root = self.unary(num, Unary::Sqrt, a);
                self.pair(num, Divide, one, root)
            }
            Mf::Radians | Mf::Degrees => {
                let half_turn = if fun == Mf::Radians {
                    std::f64::consts::PI / 180.0
                } else {
                    180.0 / std::f64::consts::PI
                };
                let scale = self.float(num, half_turn);
                self.pair(num, Multiply, a, scale)
            }
            Mf::Step => {
                let reached = self.pair(Num::Bool, LessEqual, a, b);
                self.select(num, reached, one, zero)
            }
            Mf::Mix => {
                let rest = self.pair(num, Subtract, one, c);
                let (x, y) = (self.pair(num, Multiply, a, rest), self.pair(num, Multiply, b, c));
                self.pair(num, Add, x, y)
            }
            Mf::SmoothStep => {
                let (above, range) = (self.pair(num, Subtract, c, a), self.pair(num, Subtract, b, a));
                let t = self.pair(num, Divide, above, range);
                let t = self.clamp(num, t, zero, one);
                let (two, three) = (self.float(num, 2.0), self.float(num, 3.0));
                let twice = self.pair(num, Multiply, two, t);
                let (square, rest) = (self.pair(num, Multiply, t, t), self.pair(num, Subtract, three, twice));
                self.pair(num, Multiply, square, rest)
            }
            Mf::Fma => self.op(num, Op::Fma(a, b, c)),
            Mf::Ldexp => self.op(num, Op::Call(fun, a, b)),
            _ if super::helpers::scalar(fun).is_some() => self.op(num, Op::Call(fun, a, b)),
            _ => return Err("this built-in function"),
        })
    }

    fn first_leading_bit(&mut self, num: Num, a: Id) -> Id {
        let bits = if num.is_signed() {
            let sign = self.constant(Num::U32, u64::from(8 * num.bytes() - 1));
            let sign = self.pair(num, Binary::ShiftRight, a, sign);
            self.pair(num, Binary::Xor, a, sign)
        } else {
            a
        };
        let zeros = self.unary(num, Unary::LeadingZeros, bits);
        let last = self.constant(num, u64::from(8 * num.bytes() - 1));
        self.pair(num, Binary::Subtract, last, zeros)
    }

    /// Offset and count of a bit field, cut to what the type has, and whether the count is zero.
    fn field(&mut self, num: Num, offset: Id, count: Id) -> (Id, Id, Id) {
        let wide = self.constant(Num::U32, u64::from(8 * num.bytes()));
        let zero = self.constant(Num::U32, 0);
        let offset = self.pair(Num::U32, Binary::Min, offset, wide);
        let rest = self.pair(Num::U32, Binary::Subtract, wide, offset);
        let count = self.pair(Num::U32, Binary::Min, count, rest);
        let empty = self.pair(Num::Bool, Binary::Equal, count, zero);
        (offset, count, empty)
    }

    fn extract_bits(&mut self, num: Num, value: Id, offset: Id, count: Id) -> Id {
        let (offset, count, empty) = self.field(num, offset, count);
        let wide = self.constant(Num::U32, u64::from(8 * num.bytes()));
        let above = self.pair(Num::U32, Binary::Add, offset, count);
        let above = self.pair(Num::U32, Binary::Subtract, wide, above);
        let unused = self.pair(Num::U32, Binary::Subtract, wide, count);
        // Shifts are cut to less than the width; a field that is not empty shifts by less.
        let high = self.pair(num, Binary::ShiftLeft, value, above);
        let field = self.pair(num, Binary::ShiftRight, high, unused);
        let zero = self.constant(num, 0);
        self.select(num, empty, zero, field)
    }

    fn insert_bits(&mut self, num: Num, value: Id, new: Id, offset: Id, count: Id) -> Id {
        let (offset, count, empty) = self.field(num, offset, count);
        let unsigned = match num.bytes() {
            2 => Num::U16,
            4 => Num::U32,
            _ => Num::U64,
        };
        let wide = self.constant(Num::U32, u64::from(8 * num.bytes()));
        let ones = self.constant(num, num.pack_int(-1));
        let unused = self.pair(Num::U32, Binary::Subtract, wide, count);
        let all = self.constant(unsigned, unsigned.pack_int(-1));
        let mask = self.pair(unsigned, Binary::ShiftRight, all, unused);
        let mask = self.pair(unsigned, Binary::ShiftLeft, mask, offset);
        let mask = if num == unsigned { mask } else { self.op(num, Op::Bits(mask)) };
        let outside = self.pair(num, Binary::Xor, mask, ones);
        let kept = self.pair(num, Binary::And, value, outside);
        let new = self.pair(num, Binary::ShiftLeft, new, offset);
        let new = self.pair(num, Binary::And, new, mask);
        let joined = self.pair(num, Binary::Or, kept, new);
        self.select(num, empty, value, joined)
    }

    /// Functions that mix components. `None` if `fun` is not one.
    fn whole_value(
        &mut self,
        fun: Mf,
        num: Num,
        inner: &TypeInner,
        arguments: &[Vec<Id>],
    ) -> Result<Option<Vec<Id>>, Refusal> {
        let a = &arguments[0];
        let b = arguments.get(1).unwrap_or(a);
        Ok(Some(match fun {
            Mf::Dot => vec![self.dot(num, a, b)],
            Mf::Outer => {
                let mut ids = Vec::new();
                for b in b {
                    for a in a {
                        ids.push(self.pair(num, Binary::Multiply, *a, *b));
                    }
                }
                ids
            }
            Mf::Transpose => {
                let TypeInner::Matrix { columns, rows, .. } = *inner else { return Err("a transposition") };
                let (columns, rows) = (columns as usize, rows as usize);
                (0..columns * rows).map(|i| a[(i % columns) * rows + i / columns]).collect()
            }
            Mf::Determinant => {
                let TypeInner::Matrix { columns, .. } = *inner else { return Err("a determinant") };
                vec![self.determinant(num, columns as usize, a)]
            }
            Mf::Modf => {
                let whole: Vec<Id> = a.iter().map(|id| self.unary(num, Unary::Trunc, *id)).collect();
                let parts: Vec<Id> =
                    a.iter().zip(&whole).map(|(a, w)| self.pair(num, Binary::Subtract, *a, *w)).collect();
                [parts, whole].concat()
            }
            Mf::Frexp => {
                let fractions: Vec<Id> = a.iter().map(|id| self.op(num, Op::Call(fun, *id, *id))).collect();
                let whole = num.exponent();
                let exponents: Vec<Id> = a.iter().map(|id| self.op(whole, Op::Call(fun, *id, *id))).collect();
                [fractions, exponents].concat()
            }
            Mf::Cross | Mf::Length | Mf::Distance | Mf::Normalize => self.geometry(fun, num, a, b),
            Mf::FaceForward | Mf::Reflect | Mf::Refract => {
                let c = arguments.get(2).unwrap_or(a);
                self.rays(fun, num, a, b, c)
            }
            _ => return self.packing(fun, arguments),
        }))
    }

    pub(super) fn dot(&mut self, num: Num, a: &[Id], b: &[Id]) -> Id {
        self.sum(num, a.iter().copied().zip(b.iter().copied()))
    }

    fn length(&mut self, num: Num, a: &[Id]) -> Id {
        if let [a] = a {
            return self.unary(num, Unary::Abs, *a);
        }
        let square = self.dot(num, a, a);
        self.unary(num, Unary::Sqrt, square)
    }

    fn geometry(&mut self, fun: Mf, num: Num, a: &[Id], b: &[Id]) -> Vec<Id> {
        match fun {
            Mf::Length => vec![self.length(num, a)],
            Mf::Distance => {
                let d: Vec<Id> =
                    a.iter().zip(b).map(|(a, b)| self.pair(num, Binary::Subtract, *a, *b)).collect();
                vec![self.length(num, &d)]
            }
            Mf::Normalize => {
                let length = self.length(num, a);
                a.iter().map(|a| self.pair(num, Binary::Divide, *a, length)).collect()
            }
            _ => (0..3)
                .map(|i| {
                    let (j, k) = ((i + 1) % 3, (i + 2) % 3);
                    let (x, y) = (
                        self.pair(num, Binary::Multiply, a[j], b[k]),
                        self.pair(num, Binary::Multiply, a[k], b[j]),
                    );
                    self.pair(num, Binary::Subtract, x, y)
                })
                .collect(),
        }
    }

    fn rays(&mut self, fun: Mf, num: Num, a: &[Id], b: &[Id], c: &[Id]) -> Vec<Id> {
        use Binary::{Add, Less, Multiply, Subtract};
        let (zero, one, two) = (self.float(num, 0.0), self.float(num, 1.0), self.float(num, 2.0));
        match fun {
            Mf::FaceForward => {
                let dot = self.dot(num, b, c);
                let facing = self.pair(Num::Bool, Less, dot, zero);
                a.iter()
                    .map(|a| {
                        let back = self.unary(num, Unary::Negate, *a);
                        self.select(num, facing, *a, back)
                    })
                    .collect()
            }
            Mf::Reflect => {
                let dot = self.dot(num, b, a);
                let scale = self.pair(num, Multiply, two, dot);
                a.iter()
                    .zip(b)
                    .map(|(a, b)| {
                        let along = self.pair(num, Multiply, scale, *b);
                        self.pair(num, Subtract, *a, along)
                    })
                    .collect()
            }
            _ => {
                let (eta, cosine) = (c[0], self.dot(num, b, a));
                let square = self.pair(num, Multiply, cosine, cosine);
                let sine = self.pair(num, Subtract, one, square);
                let eta2 = self.pair(num, Multiply, eta, eta);
                let part = self.pair(num, Multiply, eta2, sine);
                let k = self.pair(num, Subtract, one, part);
                let total = self.pair(Num::Bool, Less, k, zero);
                let (root, along) = (self.unary(num, Unary::Sqrt, k), self.pair(num, Multiply, eta, cosine));
                let scale = self.pair(num, Add, along, root);
                a.iter()
                    .zip(b)
                    .map(|(a, b)| {
                        let (x, y) = (self.pair(num, Multiply, eta, *a), self.pair(num, Multiply, scale, *b));
                        let bent = self.pair(num, Subtract, x, y);
                        self.select(num, total, zero, bent)
                    })
                    .collect()
            }
        }
    }

    fn determinant(&mut self, num: Num, size: usize, a: &[Id]) -> Id {
        if size == 1 {
            return a[0];
        }
        let mut total = None;
        for row in 0..size {
            let minor: Vec<Id> = (size..size * size).filter(|i| i % size != row).map(|i| a[i]).collect();
            let minor = self.determinant(num, size - 1, &minor);
            let term = self.pair(num, Binary::Multiply, a[row], minor);
            total = Some(match total {
                None => term,
                Some(total) if row % 2 == 1 => self.pair(num, Binary::Subtract, total, term),
                Some(total) => self.pair(num, Binary::Add, total, term),
            });
        }
        total.unwrap_or(a[0])
    }

    fn packing(&mut self, fun: Mf, arguments: &[Vec<Id>]) -> Result<Option<Vec<Id>>, Refusal> {
        let a = &arguments[0];
        Ok(Some(match fun {
            Mf::Pack4x8snorm => vec![self.pack_normalized(a, 8, 127.0, -1.0)],
            Mf::Pack4x8unorm => vec![self.pack_normalized(a, 8, 255.0, 0.0)],
            Mf::Pack2x16snorm => vec![self.pack_normalized(a, 16, 32767.0, -1.0)],
            Mf::Pack2x16unorm => vec![self.pack_normalized(a, 16, 65535.0, 0.0)],
            Mf::Unpack4x8snorm => self.unpack_normalized(a[0], 8, true, 127.0),
            Mf::Unpack4x8unorm => self.unpack_normalized(a[0], 8, false, 255.0),
            Mf::Unpack2x16snorm => self.unpack_normalized(a[0], 16, true, 32767.0),
            Mf::Unpack2x16unorm => self.unpack_normalized(a[0], 16, false, 65535.0),
            Mf::Unpack4xI8 => self.unpack(a[0], 8, true),
            Mf::Unpack4xU8 => self.unpack(a[0], 8, false),
            Mf::Pack4xI8 | Mf::Pack4xU8 => {
                let words: Vec<Id> = a.iter().map(|id| self.as_word(*id)).collect();
                vec![self.join(&words, 8)]
            }
            Mf::Pack4xI8Clamp | Mf::Pack4xU8Clamp => {
                let (num, low, high) =
                    if fun == Mf::Pack4xI8Clamp { (Num::I32, -128, 127) } else { (Num::U32, 0, 255) };
                let (low, high) =
                    (self.constant(num, num.pack_int(low)), self.constant(num, num.pack_int(high)));
                let words: Vec<Id> = a
                    .iter()
                    .map(|id| {
                        let id = self.clamp(num, *id, low, high);
                        self.as_word(id)
                    })
                    .collect();
                vec![self.join(&words, 8)]
            }
            Mf::Dot4I8Packed | Mf::Dot4U8Packed => {
                let signed = fun == Mf::Dot4I8Packed;
                let (a, b) = (self.unpack(a[0], 8, signed), self.unpack(arguments[1][0], 8, signed));
                vec![self.dot(if signed { Num::I32 } else { Num::U32 }, &a, &b)]
            }
            Mf::Pack2x16float | Mf::Unpack2x16float | Mf::QuantizeToF16 => {
                return self.halves(fun, a).map(Some);
            }
            _ => return Ok(None),
        }))
    }

    /// Conversions of half floats, by a function in Rust for each word.
    fn halves(&mut self, fun: Mf, a: &[Id]) -> Result<Vec<Id>, Refusal> {
        Ok(match fun {
            Mf::QuantizeToF16 => a.iter().map(|a| self.op(Num::F32, Op::Call(fun, *a, *a))).collect(),
            Mf::Pack2x16float => {
                let words: Vec<Id> = a.iter().map(|a| self.op(Num::U32, Op::Call(fun, *a, *a))).collect();
                vec![self.join(&words, 16)]
            }
            _ => {
                let halves = self.unpack(a[0], 16, false);
                halves.iter().map(|half| self.op(Num::F32, Op::Call(fun, *half, *half))).collect()
            }
        })
    }

    pub(super) fn as_word(&mut self, id: Id) -> Id {
        if self.program.num(id) == Num::U32 { id } else { self.op(Num::U32, Op::Bits(id)) }
    }

    /// The lowest `bits` of each word, the first one lowest.
    fn join(&mut self, words: &[Id], bits: u32) -> Id {
        let mask = self.constant(Num::U32, u64::from(u32::MAX >> (32 - bits)));
        let mut joined = self.constant(Num::U32, 0);
        for (i, word) in words.iter().enumerate() {
            let whole = bits * (i as u32 + 1) == 32;
            let part = if whole { *word } else { self.pair(Num::U32, Binary::And, *word, mask) };
            let shift = self.constant(Num::U32, u64::from(bits * i as u32));
            let part = if i == 0 { part } else { self.pair(Num::U32, Binary::ShiftLeft, part, shift) };
            joined = if i == 0 { part } else { self.pair(Num::U32, Binary::Or, joined, part) };
        }
        joined
    }

    fn pack_normalized(&mut self, a: &[Id], bits: u32, scale: f64, low: f64) -> Id {
        let num = Num::F32;
        let (low, one) = (self.float(num, low), self.float(num, 1.0));
        let (scale, half) = (self.float(num, scale), self.float(num, 0.5));
        let ones = self.float(num, WITH_ONES);
        let words: Vec<Id> = a
            .iter()
            .map(|value| {
                // In this order, NaN gives the lower bound.
                let value = self.pair(num, Binary::Max, low, *value);
                let value = self.pair(num, Binary::Min, value, one);
                let value = self.pair(num, Binary::Multiply, scale, value);
                let value = self.pair(num, Binary::Add, half, value);
                let value = self.unary(num, Unary::Floor, value);
                // The lowest bits of the sum are the integer.
                let sum = self.pair(num, Binary::Add, value, ones);
                self.op(Num::U32, Op::Bits(sum))
            })
            .collect();
        self.join(&words, bits)
    }

    /// The fields of a word as `i32` or `u32`.
    fn unpack(&mut self, word: Id, bits: u32, signed: bool) -> Vec<Id> {
        let word = self.as_word(word);
        let top = self.constant(Num::U32, u64::from(32 - bits));
        let mask = self.constant(Num::U32, u64::from(u32::MAX >> (32 - bits)));
        (0..32 / bits)
            .map(|i| {
                if signed {
                    let up = self.constant(Num::U32, u64::from(32 - bits * (i + 1)));
                    let high = self.pair(Num::U32, Binary::ShiftLeft, word, up);
                    let high = self.op(Num::I32, Op::Bits(high));
                    self.pair(Num::I32, Binary::ShiftRight, high, top)
                } else {
                    let down = self.constant(Num::U32, u64::from(bits * i));
                    let low = if i == 0 { word } else { self.pair(Num::U32, Binary::ShiftRight, word, down) };
                    let whole = bits * (i + 1) == 32;
                    if whole { low } else { self.pair(Num::U32, Binary::And, low, mask) }
                }
            })
            .collect()
    }

    fn unpack_normalized(&mut self, word: Id, bits: u32, signed: bool, scale: f64) -> Vec<Id> {
        let scale = self.constant(Num::F32, u64::from((1.0 / scale as f32).to_bits()));
        let low = self.float(Num::F32, -1.0);
        let fields = self.unpack(word, bits, signed);
        fields
            .into_iter()
            .map(|field| {
                // Small enough to be signed either way; signed conversions are cheaper.
                let field = if signed { field } else { self.op(Num::I32, Op::Bits(field)) };
                let value = self.op(Num::F32, Op::Convert(field));
                let value = self.operator(BinaryOperator::Multiply, Num::F32, value, scale);
                if signed { self.pair(Num::F32, Binary::Max, value, low) } else { value }
            })
            .collect()
    }
}

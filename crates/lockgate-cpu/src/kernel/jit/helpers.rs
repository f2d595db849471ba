//! What machine code leaves to Rust: functions without an exact definition, and textures.
//!
//! Every helper takes and gives bits, so that one signature serves all.

use naga::MathFunction as Mf;

use super::{
    super::{
        binding::{Binding, TextureBinding},
        interpret,
        number::{self, Num},
        sample::{self, SamplePoint},
        texel::TexelFormat,
    },
    ir::ImageOp,
    told::Watcher,
};

/// The signature of [`scalar`]'s functions.
pub(super) type ScalarFn = extern "C" fn(u32, u32) -> u32;

macro_rules! scalars {
    ($fun:expr, $($name:ident)+) => {
        match $fun {
            $(Mf::$name => {
                extern "C" fn call(a: u32, b: u32) -> u32 {
                    number::transcendental_f32(Mf::$name, f32::from_bits(a), f32::from_bits(b))
                        .unwrap_or(0.0)
                        .to_bits()
                }
                Some(call as ScalarFn)
            })+
            _ => None,
        }
    };
}

/// The helper for a function of one or two `f32`.
pub(super) fn scalar(fun: Mf) -> Option<ScalarFn> {
    scalars!(
        fun, Cos Cosh Sin Sinh Tan Tanh Acos Asin Atan Atan2 Asinh Acosh Atanh Exp Exp2 Log Log2 Pow
    )
}

/// The helper for any function, given the type of its result.
pub(super) fn any_scalar(fun: Mf, result: Num) -> Option<ScalarFn> {
    Some(match (fun, result) {
        (Mf::Ldexp, _) => ldexp,
        (Mf::Frexp, Num::F32) => fraction,
        (Mf::Frexp, _) => exponent,
        (Mf::Pack2x16float, _) => to_half,
        (Mf::Unpack2x16float, _) => from_half,
        (Mf::QuantizeToF16, _) => quantize,
        _ => return scalar(fun),
    })
}

/// The signature of [`wide`]'s functions: bits of two operands, and where the bits of the result go.
pub(super) type WideFn = extern "C" fn(u64, u64, *mut u64);

macro_rules! wide {
    ($fun:expr, $($name:ident)+) => {
        match $fun {
            $(Mf::$name => {
                extern "C" fn call(a: u64, b: u64, result: *mut u64) {
                    let value = number::math(Mf::$name, Num::F64, &[a, b]).unwrap_or(0);
                    // SAFETY: machine code passes eight bytes of its own stack.
                    unsafe { result.write(value) };
                }
                call as WideFn
            })+
            _ => nothing,
        }
    };
}

extern "C" fn nothing(_: u64, _: u64, _: *mut u64) {}

/// The helper for a function of one or two `f64`, given the type of its result.
pub(super) fn wide(fun: Mf, result: Num) -> WideFn {
    extern "C" fn ldexp(a: u64, exponent: u64, result: *mut u64) {
        // SAFETY: machine code passes eight bytes of its own stack.
        unsafe { result.write(interpret::ldexp(Num::F64, a, exponent as i32)) };
    }
    extern "C" fn fraction(a: u64, _: u64, result: *mut u64) {
        // SAFETY: machine code passes eight bytes of its own stack.
        unsafe { result.write(interpret::split_float(f64::from_bits(a)).0.to_bits()) };
    }
    extern "C" fn exponent(a: u64, _: u64, result: *mut u64) {
        // SAFETY: machine code passes eight bytes of its own stack.
        unsafe { result.write(i64::from(interpret::split_float(f64::from_bits(a)).1) as u64) };
    }
    match (fun, result) {
        (Mf::Ldexp, _) => ldexp,
        (Mf::Frexp, Num::F64) => fraction,
        (Mf::Frexp, _) => exponent,
        _ => wide!(
            fun, Cos Cosh Sin Sinh Tan Tanh Acos Asin Atan Atan2 Asinh Acosh Atanh Exp Exp2 Log Log2 Pow
        ),
    }
}

const ATOMICS: [naga::AtomicFunction; 8] = [
    naga::AtomicFunction::Add,
    naga::AtomicFunction::Subtract,
    naga::AtomicFunction::And,
    naga::AtomicFunction::ExclusiveOr,
    naga::AtomicFunction::InclusiveOr,
    naga::AtomicFunction::Min,
    naga::AtomicFunction::Max,
    naga::AtomicFunction::Exchange { compare: None },
];

/// How a call names an atomic operation on integers of a type.
pub(super) fn atomic_number(fun: naga::AtomicFunction, num: Num) -> Option<u32> {
    let number = ATOMICS.iter().position(|own| *own == fun)? as u32;
    Some(2 * number + u32::from(num.is_signed()))
}

extern "C" fn ldexp(a: u32, exponent: u32) -> u32 {
    interpret::ldexp(Num::F32, a.into(), exponent as i32) as u32
}

extern "C" fn fraction(a: u32, _: u32) -> u32 {
    Num::F32.pack_float(interpret::split_float(Num::F32.float(a.into())).0) as u32
}

extern "C" fn exponent(a: u32, _: u32) -> u32 {
    interpret::split_float(Num::F32.float(a.into())).1 as u32
}

extern "C" fn to_half(a: u32, _: u32) -> u32 {
    let bytes = TexelFormat::R16Float.encode([a, 0, 0, 0]);
    u16::from_le_bytes([bytes[0], bytes[1]]).into()
}

extern "C" fn from_half(a: u32, _: u32) -> u32 {
    TexelFormat::R16Float.decode(&a.to_le_bytes())[0]
}

extern "C" fn quantize(a: u32, _: u32) -> u32 {
    from_half(to_half(a, 0), 0)
}

/// Fields of an [`ImageCall`].
pub(super) mod field {
    /// Three coordinates: integers for texels, floats for samples.
    pub(in super::super) const COORDS: usize = 0;
    pub(in super::super) const LAYER: usize = 3;
    /// An integer for texels, a float for samples.
    pub(in super::super) const LEVEL: usize = 4;
    /// Three integers.
    pub(in super::super) const OFFSET: usize = 5;
    pub(in super::super) const REFERENCE: usize = 8;
    pub(in super::super) const COMPONENT: usize = 9;
    /// Four components to store, or three floats of a derivative and three more.
    pub(in super::super) const VALUE: usize = 10;
    pub(in super::super) const COUNT: usize = 16;
}

/// The operands and results of a call to [`images`], for four lanes.
#[repr(C)]
pub(super) struct ImageCalls {
    pub(super) textures: [*const Binding; 4],
    pub(super) samplers: [*const Binding; 4],
    /// Each for all lanes.
    pub(super) fields: [[u32; 4]; field::COUNT],
    /// Each of one lane.
    pub(super) results: [[u32; 4]; 4],
    pub(super) watcher: *mut Watcher<'static>,
    pub(super) site: u32,
    /// The number of the first invocation.
    pub(super) lane: u32,
}

/// Bits of a number that says what of [`ImageCalls`] machine code has filled, above those of the fields.
pub(super) mod filled {
    pub(in super::super) const SAMPLERS: u32 = 1 << super::field::COUNT;
    pub(in super::super) const WATCHER: u32 = 2 << super::field::COUNT;
}

/// What one lane wants of a texture.
pub(super) struct ImageCall {
    pub(super) texture: *const Binding,
    /// Null if there is none.
    sampler: *const Binding,
    pub(super) fields: [u32; field::COUNT],
    /// Null if nobody records.
    watcher: *mut Watcher<'static>,
    pub(super) site: u32,
    pub(super) lane: u32,
}

/// Does what [`ImageOp`] number `op` says for the lanes whose bits are set. `used` has a bit for each field that is filled.
pub(super) extern "C" fn images(op: u32, lanes: u32, used: u32, calls: *mut ImageCalls) {
    // SAFETY: machine code passes its own stack slot, which holds a whole `ImageCalls`.
    let calls = unsafe { &mut *calls };
    let watched = used & filled::WATCHER != 0;
    for lane in (0..4).filter(|lane| lanes & (1 << lane) != 0) {
        let field = |at: usize| if used & (1 << at) != 0 { calls.fields[at][lane] } else { 0 };
        let sampled = used & filled::SAMPLERS != 0;
        calls.results[lane] = image(
            op,
            &ImageCall {
                texture: calls.textures[lane],
                sampler: if sampled { calls.samplers[lane] } else { std::ptr::null() },
                fields: std::array::from_fn(field),
                watcher: if watched { calls.watcher } else { std::ptr::null_mut() },
                site: if watched { calls.site } else { 0 },
                lane: if watched { calls.lane + lane as u32 } else { 0 },
            },
        );
    }
}

fn image(op: u32, call: &ImageCall) -> [u32; 4] {
    // SAFETY: machine code passes the address of a binding of the launch, which `Kernel::run` borrows.
    let texture = unsafe { &*call.texture };
    // Nothing is bound: all of it is zero.
    let Binding::Texture(texture) = texture else { return [0; 4] };
    // SAFETY: machine code passes on the watcher that it was called with, which nothing else uses meanwhile.
    if let Some(watcher) = unsafe { call.watcher.as_mut() } {
        // SAFETY: machine code passes null or the address of a binding of the launch.
        let sampler = unsafe { call.sampler.as_ref() };
        watcher.texels(op, call, texture, sampler);
    }
    let at: [u32; 3] = [call.fields[0], call.fields[1], call.fields[2]];
    match op {
        op if op == ImageOp::Load as u32 => {
            // SAFETY: the texture is valid by the contract of `Kernel::run`.
            unsafe { sample::load(texture, call.fields[field::LEVEL], at) }
        }
        op if op == ImageOp::Store as u32 => {
            let texel = std::array::from_fn(|i| call.fields[field::VALUE + i]);
            // SAFETY: the texture is valid by the contract of `Kernel::run`, and the slot says that it is written.
            unsafe { sample::store(texture, at, texel) };
            [0; 4]
        }
        op if op == ImageOp::Atomic as u32 => {
            let (number, value) = (call.fields[field::COMPONENT], call.fields[field::VALUE]);
            let num = if number.is_multiple_of(2) { Num::U32 } else { Num::I32 };
            let fun = ATOMICS[(number / 2) as usize % ATOMICS.len()];
            let change = |old| interpret::changed(fun, num, old, value.into(), None);
            // SAFETY: as for a store.
            unsafe { sample::update(texture, at, change) };
            [0; 4]
        }
        op if op == ImageOp::Size as u32 => {
            let [x, y, z] = sample::size(texture, call.fields[field::LEVEL]);
            [x, y, z, 0]
        }
        op if op == ImageOp::Levels as u32 => [texture.levels.len() as u32, 0, 0, 0],
        op if op == ImageOp::Layers as u32 => [sample::layers(texture), 0, 0, 0],
        _ => sampled(op, call, texture),
    }
}

/// Where a call samples.
pub(super) fn sample_point(op: u32, call: &ImageCall, texture: &TextureBinding) -> SamplePoint {
    let floats = |first: usize| std::array::from_fn(|i| f32::from_bits(call.fields[first + i]));
    let mut point = SamplePoint {
        coords: floats(field::COORDS),
        layer: call.fields[field::LAYER].min(i32::MAX as u32) as i32,
        lod: f32::from_bits(call.fields[field::LEVEL]),
        offset: std::array::from_fn(|i| call.fields[field::OFFSET + i] as i32),
    };
    if op == ImageOp::SampleGradient as u32 {
        let changes = [field::VALUE, field::VALUE + 3].map(floats);
        point.lod = sample::lod_of_gradient(texture, point.coords, changes);
    }
    if op == ImageOp::SampleClamped as u32 {
        interpret::clamp_to_texels(texture, &mut point);
    }
    point
}

fn sampled(op: u32, call: &ImageCall, texture: &TextureBinding) -> [u32; 4] {
    // SAFETY: machine code passes null or the address of a binding of the launch, which `Kernel::run` borrows.
    let Some(Binding::Sampler(sampler)) = (unsafe { call.sampler.as_ref() }) else { return [0; 4] };
    let point = sample_point(op, call, texture);
    let reference = f32::from_bits(call.fields[field::REFERENCE]);
    if op == ImageOp::SampleCompare as u32 {
        // SAFETY: the texture is valid by the contract of `Kernel::run`.
        [unsafe { sample::sample_compare(texture, sampler, &point, reference) }.to_bits(); 4]
    } else if op == ImageOp::Gather as u32 || op == ImageOp::GatherCompare as u32 {
        let reference = (op == ImageOp::GatherCompare as u32).then_some(reference);
        let component = call.fields[field::COMPONENT] as usize;
        // SAFETY: the texture is valid by the contract of `Kernel::run`.
        unsafe { sample::gather(texture, sampler, &point, component, reference) }
    } else {
        // SAFETY: the texture is valid by the contract of `Kernel::run`.
        unsafe { sample::sample(texture, sampler, &point) }.map(f32::to_bits)
    }
}

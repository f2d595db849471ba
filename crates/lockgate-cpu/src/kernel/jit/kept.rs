//! A call that leaves all registers as they are: for what machine code hardly ever does, so that it does not pay for
//! the possibility.
//!
//! Where a call may happen, everything that lives across it would lie in memory instead of registers; in a loop over
//! floats that costs more than the rest of observation. The bridge here saves registers only when it is crossed.

use super::told;
use cranelift_codegen::{
    ir::{AbiParam, InstBuilder, Signature, Type, types},
    isa::CallConv,
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, default_libcall_names};
use std::sync::{Mutex, OnceLock};

/// The code of the bridge, which stays for as long as the process.
struct Bridge {
    address: usize,
    /// Owns the code.
    _module: Mutex<JITModule>,
}

/// The address of a function that does what [`told::touched`] does and changes no register; nothing where there is none.
pub(super) fn touched() -> Option<usize> {
    static BRIDGE: OnceLock<Option<Bridge>> = OnceLock::new();
    let parameters = [types::I64, types::I32, types::I32, types::I64, types::I32, types::I64];
    let make = || bridge(told::touched as *const () as usize, &parameters);
    BRIDGE.get_or_init(make).as_ref().map(|bridge| bridge.address)
}

/// The same for [`told::beyond`].
pub(super) fn beyond() -> Option<usize> {
    static BRIDGE: OnceLock<Option<Bridge>> = OnceLock::new();
    let parameters = [types::I64, types::I32, types::I32, types::I32, types::I32];
    let make = || bridge(told::beyond as *const () as usize, &parameters);
    BRIDGE.get_or_init(make).as_ref().map(|bridge| bridge.address)
}

/// The parameters of a function that gives nothing.
pub(super) fn signature(parameters: &[Type], convention: CallConv) -> Signature {
    let mut signature = Signature::new(convention);
    signature.params.extend(parameters.iter().map(|ty| AbiParam::new(*ty)));
    signature
}

fn bridge(to: usize, parameters: &[Type]) -> Option<Bridge> {
    let isa = super::isa().ok()?;
    let mut module = JITModule::new(JITBuilder::with_isa(isa, default_libcall_names()));
    let config = module.target_config();
    let mut context = module.make_context();
    context.func.signature = signature(parameters, CallConv::PreserveAll);
    let mut builder_context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let block = b.create_block();
    b.append_block_params_for_function_params(block);
    b.switch_to_block(block);
    b.seal_block(block);
    let arguments = b.block_params(block).to_vec();
    let callee = b.import_signature(signature(parameters, config.default_call_conv));
    let address = b.ins().iconst(types::I64, to as i64);
    b.ins().call_indirect(callee, address, &arguments);
    b.ins().return_(&[]);
    b.finalize(config);
    let id = module.declare_function("touched", Linkage::Local, &context.func.signature).ok()?;
    module.define_function(id, &mut context).ok()?;
    module.finalize_definitions().ok()?;
    let address = module.get_finalized_function(id) as usize;
    Some(Bridge { address, _module: Mutex::new(module) })
}

//! The loader, opened when somebody asks for it, and the one instance of it.
//!
//! A machine without a loader has no Vulkan device; that is an answer, not an error. Deliberately absent: devices
//! (`adapter.rs`). Tested in `tests/device.rs` and, without a loader, in the command's own tests.

use crate::error::{Fallible, failed};
use ash::{Entry, ext, vk};
use lockgate_runtime::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::ffi::{CStr, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the validation layer is asked to look at.
///
/// ```
/// assert_eq!(lockgate_vulkan::Validation::default(), lockgate_vulkan::Validation::Off);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validation {
    /// Nothing: the layer is not loaded.
    #[default]
    Off,
    /// The use of the interface.
    Core,
    /// That and synchronization, also between submissions.
    Synchronization,
}

const LAYER: &CStr = c"VK_LAYER_KHRONOS_validation";

/// Instances and devices are made and destroyed one after the other: loaders, layers and drivers have not all been made for
/// more.
static TURN: Mutex<()> = Mutex::new(());

/// Waits until nobody else makes or destroys an instance or a device.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The instance that all devices without validation share. It is never destroyed: with the last instance the loader
/// would unload the drivers, and not all of them survive that while threads that used them end.
static SHARED: Mutex<Option<Arc<Instance>>> = Mutex::new(None);

/// What the validation layer has said.
pub(crate) type Messages = Arc<Mutex<Vec<String>>>;

/// A Vulkan instance.
pub(crate) struct Instance {
    pub(crate) raw: ash::Instance,
    /// Keeps the loader in memory.
    pub(crate) _entry: Entry,
    messenger: Option<(ext::debug_utils::Instance, vk::DebugUtilsMessengerEXT)>,
    /// Shared with the messenger's callback.
    pub(crate) messages: Messages,
}

impl Instance {
    /// Whether the validation layer looks at it.
    pub(crate) fn is_validating(&self) -> bool {
        self.messenger.is_some()
    }

    /// The shared instance, or one of its own with validation, so that its messages are its own.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`]: no loader, or a loader that is too old; no validation layer, if one is asked for.
    pub(crate) fn open(validation: Validation) -> Result<Arc<Instance>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let first = match &*shared {
            Some(first) => first.clone(),
            None => shared.insert(Instance::make(Validation::Off)?).clone(),
        };
        if validation == Validation::Off { Ok(first) } else { Instance::make(validation) }
    }

    /// Opens the loader and makes an instance.
    fn make(validation: Validation) -> Result<Arc<Instance>> {
        let _turn = turn();
        // SAFETY: the loader is trusted like any other library of the system; its initializers have no preconditions.
        let entry = unsafe { Entry::load() }
            .map_err(|error| unsupported(format!("there is no Vulkan loader: {error}")))?;
        // SAFETY: the entry was loaded just now.
        let version = unsafe { entry.try_enumerate_instance_version() };
        let version =
            version.or_fail("asking the Vulkan loader for its version")?.unwrap_or(vk::API_VERSION_1_0);
        if version < vk::API_VERSION_1_3 {
            let (major, minor) = (vk::api_version_major(version), vk::api_version_minor(version));
            return Err(unsupported(format!("the Vulkan loader is {major}.{minor}; 1.3 is needed")));
        }
        let validating = validation != Validation::Off;
        if validating && !has_layer(&entry)? {
            return Err(unsupported("the Vulkan validation layer is not installed".into()));
        }
        let messages = Messages::default();
        let raw = create(&entry, validation)?;
        let messenger = validating.then(|| listen(&entry, &raw, &messages)).transpose()?;
        Ok(Arc::new(Instance { raw, _entry: entry, messenger, messages }))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _turn = turn();
        if let Some((functions, messenger)) = &self.messenger {
            // SAFETY: the messenger was made by this instance and is destroyed once.
            unsafe { functions.destroy_debug_utils_messenger(*messenger, None) };
        }
        // SAFETY: everything made by the instance holds it in an `Arc`, so nothing is left.
        unsafe { self.raw.destroy_instance(None) };
    }
}

fn unsupported(message: String) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

fn has_layer(entry: &Entry) -> Result<bool> {
    // SAFETY: the entry is loaded.
    let layers = unsafe { entry.enumerate_instance_layer_properties() };
    let layers = layers.or_fail("listing the Vulkan layers")?;
    Ok(layers.iter().any(|layer| layer.layer_name_as_c_str() == Ok(LAYER)))
}

fn create(entry: &Entry, validation: Validation) -> Result<ash::Instance> {
    let application = vk::ApplicationInfo::default()
        .application_name(c"lockgate")
        .engine_name(c"lockgate")
        .api_version(vk::API_VERSION_1_3);
    let layers = [LAYER.as_ptr()];
    let debug = [ext::debug_utils::NAME.as_ptr()];
    let enabled = [vk::ValidationFeatureEnableEXT::SYNCHRONIZATION_VALIDATION];
    let mut features = vk::ValidationFeaturesEXT::default();
    let mut info = vk::InstanceCreateInfo::default().application_info(&application);
    if validation != Validation::Off {
        info = info.enabled_layer_names(&layers).enabled_extension_names(&debug);
    }
    if validation == Validation::Synchronization {
        features = features.enabled_validation_features(&enabled);
        info = info.push_next(&mut features);
    }
    // SAFETY: all that `info` points to lives until the call returns.
    let made = unsafe { entry.create_instance(&info, None) };
    made.map_err(|result| unsupported(format!("a Vulkan instance cannot be made: {}", failed(result))))
}

fn listen(
    entry: &Entry,
    instance: &ash::Instance,
    messages: &Messages,
) -> Result<(ext::debug_utils::Instance, vk::DebugUtilsMessengerEXT)> {
    use vk::{DebugUtilsMessageSeverityFlagsEXT as Severity, DebugUtilsMessageTypeFlagsEXT as Kind};
    let functions = ext::debug_utils::Instance::new(entry, instance);
    let info = vk::DebugUtilsMessengerCreateInfoEXT::default()
        .message_severity(Severity::ERROR | Severity::WARNING)
        .message_type(Kind::VALIDATION)
        .pfn_user_callback(Some(on_message))
        .user_data(Arc::as_ptr(messages) as *mut c_void);
    // SAFETY: the list behind `user_data` lives as long as the instance, which destroys the messenger first.
    let messenger = unsafe { functions.create_debug_utils_messenger(&info, None) };
    Ok((functions, messenger.or_fail("listening to the validation layer")?))
}

/// Called by the layer, from any thread.
unsafe extern "system" fn on_message(
    _severity: vk::DebugUtilsMessageSeverityFlagsEXT,
    _kind: vk::DebugUtilsMessageTypeFlagsEXT,
    data: *const vk::DebugUtilsMessengerCallbackDataEXT<'_>,
    user: *mut c_void,
) -> vk::Bool32 {
    // SAFETY: the layer passes a valid structure for the time of the call.
    let data = unsafe { &*data };
    // SAFETY: `user` is the list of the instance that made the messenger, which lives longer.
    let messages = unsafe { &*user.cast::<Mutex<Vec<String>>>() };
    // SAFETY: where the message is not null it is a string that lives for the time of the call.
    let text = unsafe { data.message_as_c_str() };
    let text = text.map_or(Cow::Borrowed(""), CStr::to_string_lossy);
    log::error!("Vulkan validation: {text}");
    messages.lock().unwrap_or_else(PoisonError::into_inner).push(text.into_owned());
    vk::FALSE
}

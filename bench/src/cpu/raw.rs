//! What needs `unsafe`: OpenCL's C interface, opened when it is asked for, code for instructions that not every
//! processor has, and a look at memory that a device writes.

use super::by_hand::Part;
use libloading::Library;
use lockgate::Buffer;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut};
use std::rc::Rc;

#[cfg(target_arch = "x86_64")]
pub fn has_modern() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("bmi2")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn modern(part: impl Part) {
    part.run();
}

/// Runs a part with newer instructions.
#[cfg(target_arch = "x86_64")]
pub fn run_modern(part: impl Part) {
    assert!(has_modern());
    // SAFETY: this processor has them.
    unsafe { modern(part) }
}

#[cfg(not(target_arch = "x86_64"))]
pub fn has_modern() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
pub fn run_modern(part: impl Part) {
    part.run();
}

/// Looks at the first word of a buffer until it is `value`.
pub fn spin_until(buffer: &Buffer, value: u32) {
    let word = buffer.contents().expect("shared memory").cast::<u32>();
    // SAFETY: the buffer holds the word, and whoever else writes it, it may be read as it then is.
    while unsafe { word.read_volatile() } != value {
        std::hint::spin_loop();
    }
}

type Handle = *mut c_void;
type Name = *const c_char;

/// Declares functions of the library by their names and types.
macro_rules! functions {
    ($($name:ident($($kind:ty),*) -> $gives:ty;)*) => {
        #[allow(non_snake_case, reason = "OpenCL's names")]
        struct Functions { $($name: unsafe extern "C" fn($($kind),*) -> $gives,)* }

        impl Functions {
            fn load(library: &Library) -> Result<Functions, String> {
                // SAFETY: the types are those of OpenCL 1.2, and `Cl` keeps the library for as long as the functions.
                Ok(unsafe { Functions {
                    $($name: *library.get(concat!(stringify!($name), "\0").as_bytes()).map_err(|e| e.to_string())?,)*
                } })
            }
        }
    };
}

functions! {
    clGetPlatformIDs(u32, *mut Handle, *mut u32) -> i32;
    clGetDeviceIDs(Handle, u64, u32, *mut Handle, *mut u32) -> i32;
    clGetPlatformInfo(Handle, u32, usize, *mut c_void, *mut usize) -> i32;
    clGetDeviceInfo(Handle, u32, usize, *mut c_void, *mut usize) -> i32;
    clCreateContext(*const isize, u32, *const Handle, *const c_void, *mut c_void, *mut i32) -> Handle;
    clCreateCommandQueue(Handle, Handle, u64, *mut i32) -> Handle;
    clCreateBuffer(Handle, u64, usize, *const c_void, *mut i32) -> Handle;
    clCreateImage(Handle, u64, *const [u32; 2], *const ImageDescriptor, *const c_void, *mut i32) -> Handle;
    clReleaseMemObject(Handle) -> i32;
    clCreateProgramWithSource(Handle, u32, *const Name, *const usize, *mut i32) -> Handle;
    clBuildProgram(Handle, u32, *const Handle, Name, *const c_void, *mut c_void) -> i32;
    clGetProgramBuildInfo(Handle, Handle, u32, usize, *mut c_void, *mut usize) -> i32;
    clCreateKernel(Handle, Name, *mut i32) -> Handle;
    clSetKernelArg(Handle, u32, usize, *const c_void) -> i32;
    clEnqueueNDRangeKernel(
        Handle, Handle, u32, *const usize, *const usize, *const usize, u32, *const Handle, *mut Handle
    ) -> i32;
    clEnqueueWriteBuffer(
        Handle, Handle, u32, usize, usize, *const c_void, u32, *const Handle, *mut Handle
    ) -> i32;
    clEnqueueReadBuffer(Handle, Handle, u32, usize, usize, *mut c_void, u32, *const Handle, *mut Handle) -> i32;
    clEnqueueReadImage(
        Handle, Handle, u32, *const [usize; 3], *const [usize; 3], usize, usize, *mut c_void, u32, *const Handle,
        *mut Handle
    ) -> i32;
    clFinish(Handle) -> i32;
}

/// `cl_image_desc`.
#[repr(C)]
#[derive(Default)]
struct ImageDescriptor {
    kind: u32,
    width: usize,
    height: usize,
    depth: usize,
    array_size: usize,
    row_pitch: usize,
    slice_pitch: usize,
    mip_levels: u32,
    samples: u32,
    buffer: usize,
}

const DEVICE_TYPE_CPU: u64 = 2;
const DEVICE_NAME: u32 = 0x102B;
const PLATFORM_VERSION: u32 = 0x0901;
const PROGRAM_BUILD_LOG: u32 = 0x1183;
const MEM_READ_WRITE_COPIED: u64 = 1 | 32;
const IMAGE_2D: u32 = 0x10F1;
const RGBA_UNORM_INT8: [u32; 2] = [0x10B5, 0x10D2];

/// An OpenCL device that is a CPU, with one queue that runs in order.
pub struct Cl {
    cl: Functions,
    device: Handle,
    context: Handle,
    queue: Handle,
    pub description: String,
    _library: Library,
}

/// A buffer or an image; its words.
pub struct Memory {
    of: Rc<Cl>,
    handle: Handle,
    words: usize,
    size: Option<[u32; 2]>,
}

#[derive(Clone, Copy)]
pub struct Kernel(Handle);

pub enum Argument<'a> {
    Memory(&'a Memory),
    Word(u32),
}

fn check(code: i32, what: &str) -> Result<(), String> {
    if code == 0 { Ok(()) } else { Err(format!("{what}: OpenCL error {code}")) }
}

/// Reads a text that OpenCL first says the length of.
fn text(mut read: impl FnMut(usize, *mut c_void, *mut usize) -> i32) -> String {
    let mut length = 0;
    read(0, null_mut(), &mut length);
    let mut bytes = vec![0u8; length + 1];
    read(length, bytes.as_mut_ptr().cast(), null_mut());
    CStr::from_bytes_until_nul(&bytes).unwrap_or_default().to_string_lossy().into_owned()
}

// Throughout: pointers are to locals that outlive the call, with the lengths that are said beside them, and handles are
// those that the same library gave out.
impl Cl {
    /// The first device that is a CPU.
    pub fn open() -> Result<Rc<Cl>, String> {
        // SAFETY: what an OpenCL loader does when it is loaded is in order.
        let library = unsafe { Library::new("libOpenCL.so.1") }.map_err(|error| error.to_string())?;
        let cl = Functions::load(&library)?;
        let (mut platforms, mut count) = ([null_mut(); 8], 0);
        // SAFETY: as above.
        check(unsafe { (cl.clGetPlatformIDs)(8, platforms.as_mut_ptr(), &mut count) }, "no platform")?;
        for platform in &platforms[..count.min(8) as usize] {
            let (mut device, mut found) = (null_mut(), 0);
            // SAFETY: as above.
            let code = unsafe { (cl.clGetDeviceIDs)(*platform, DEVICE_TYPE_CPU, 1, &mut device, &mut found) };
            if code != 0 || found == 0 {
                continue;
            }
            // SAFETY: as above.
            let version =
                text(|n, at, to| unsafe { (cl.clGetPlatformInfo)(*platform, PLATFORM_VERSION, n, at, to) });
            // SAFETY: as above.
            let name = text(|n, at, to| unsafe { (cl.clGetDeviceInfo)(device, DEVICE_NAME, n, at, to) });
            let mut code = 0;
            // SAFETY: as above.
            let context = unsafe { (cl.clCreateContext)(null(), 1, &device, null(), null_mut(), &mut code) };
            check(code, "no context")?;
            // SAFETY: as above.
            let queue = unsafe { (cl.clCreateCommandQueue)(context, device, 0, &mut code) };
            check(code, "no queue")?;
            let description = format!("{name}, {}", version.trim());
            return Ok(Rc::new(Cl { cl, device, context, queue, description, _library: library }));
        }
        Err("no OpenCL device is a CPU".into())
    }

    pub fn buffer(self: &Rc<Cl>, words: &[u32]) -> Result<Memory, String> {
        let (mut code, bytes) = (0, size_of_val(words));
        let flags = MEM_READ_WRITE_COPIED;
        // SAFETY: as above.
        let handle =
            unsafe { (self.cl.clCreateBuffer)(self.context, flags, bytes, words.as_ptr().cast(), &mut code) };
        check(code, "no buffer")?;
        Ok(Memory { of: self.clone(), handle, words: words.len(), size: None })
    }

    /// An image of `rgba8unorm`.
    pub fn image(self: &Rc<Cl>, size: [u32; 2], texels: &[u32]) -> Result<Memory, String> {
        let [width, height] = size.map(|side| side as usize);
        let descriptor = ImageDescriptor { kind: IMAGE_2D, width, height, ..Default::default() };
        let (mut code, from) = (0, texels.as_ptr().cast());
        let (flags, format) = (MEM_READ_WRITE_COPIED, RGBA_UNORM_INT8);
        // SAFETY: as above.
        let handle =
            unsafe { (self.cl.clCreateImage)(self.context, flags, &format, &descriptor, from, &mut code) };
        check(code, "no image")?;
        Ok(Memory { of: self.clone(), handle, words: texels.len(), size: Some(size) })
    }

    /// Compiles a program, and takes kernels from it.
    pub fn kernels(&self, source: &str, entries: &[&str]) -> Result<Vec<Kernel>, String> {
        let (mut code, length, at) = (0, source.len(), source.as_ptr().cast());
        // SAFETY: as above.
        let program =
            unsafe { (self.cl.clCreateProgramWithSource)(self.context, 1, &at, &length, &mut code) };
        check(code, "no program")?;
        let options = c"".as_ptr();
        // SAFETY: as above.
        let code = unsafe { (self.cl.clBuildProgram)(program, 1, &self.device, options, null(), null_mut()) };
        let log = |n, at, to| {
            // SAFETY: as above.
            unsafe { (self.cl.clGetProgramBuildInfo)(program, self.device, PROGRAM_BUILD_LOG, n, at, to) }
        };
        check(code, "the program").map_err(|error| format!("{error}: {}", text(log)))?;
        let kernel = |entry: &&str| {
            let (mut code, name) = (0, CString::new(*entry).map_err(|error| error.to_string())?);
            // SAFETY: as above.
            let kernel = unsafe { (self.cl.clCreateKernel)(program, name.as_ptr(), &mut code) };
            check(code, entry).map(|()| Kernel(kernel))
        };
        entries.iter().map(kernel).collect()
    }

    pub fn launch(
        &self,
        kernel: Kernel,
        arguments: &[Argument<'_>],
        global: [usize; 3],
        local: [usize; 3],
    ) -> Result<(), String> {
        for (at, argument) in arguments.iter().enumerate() {
            let (size, from): (usize, *const c_void) = match argument {
                Argument::Memory(memory) => (size_of::<Handle>(), (&raw const memory.handle).cast()),
                Argument::Word(word) => (4, (&raw const *word).cast()),
            };
            // SAFETY: as above.
            check(unsafe { (self.cl.clSetKernelArg)(kernel.0, at as u32, size, from) }, "an argument")?;
        }
        let (global, local) = (global.as_ptr(), local.as_ptr());
        // SAFETY: as above; a kernel that reaches beyond its buffers would be a mistake of ours.
        let code = unsafe {
            (self.cl.clEnqueueNDRangeKernel)(
                self.queue,
                kernel.0,
                3,
                null(),
                global,
                local,
                0,
                null(),
                null_mut(),
            )
        };
        check(code, "a launch")
    }

    pub fn finish(&self) -> Result<(), String> {
        // SAFETY: as above.
        check(unsafe { (self.cl.clFinish)(self.queue) }, "the queue")
    }
}

impl Memory {
    /// Writes a buffer, and waits for it.
    pub fn write(&self, words: &[u32]) -> Result<(), String> {
        let (of, bytes, from) = (&self.of, self.words.min(words.len()) * 4, words.as_ptr().cast());
        // SAFETY: as above, and the call blocks.
        let code = unsafe {
            (of.cl.clEnqueueWriteBuffer)(of.queue, self.handle, 1, 0, bytes, from, 0, null(), null_mut())
        };
        check(code, "a write")
    }

    /// Waits for what uses it, and reads it.
    pub fn read(&self) -> Result<Vec<u32>, String> {
        let mut words = vec![0u32; self.words];
        let (of, bytes, to) = (&self.of, self.words * 4, words.as_mut_ptr().cast());
        let code = match self.size {
            // SAFETY: as above, and the call blocks.
            None => unsafe {
                (of.cl.clEnqueueReadBuffer)(of.queue, self.handle, 1, 0, bytes, to, 0, null(), null_mut())
            },
            Some([width, height]) => {
                let (start, region) = ([0; 3], [width as usize, height as usize, 1]);
                // SAFETY: as above, and the call blocks.
                unsafe {
                    (of.cl.clEnqueueReadImage)(
                        of.queue,
                        self.handle,
                        1,
                        &start,
                        &region,
                        0,
                        0,
                        to,
                        0,
                        null(),
                        null_mut(),
                    )
                }
            }
        };
        check(code, "a read").map(|()| words)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: as above; nothing uses it any more, since all that run were waited for.
        unsafe { (self.of.cl.clReleaseMemObject)(self.handle) };
    }
}

//! Where a program file finds the files that it refers to.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::path::PathBuf;

/// The files around a program file: kernels and pictures.
pub trait Files {
    /// The bytes of a file that the program names.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read.
    fn read(&self, path: &str) -> Result<Vec<u8>>;

    /// What is to be taken instead of the picture of `image NAME`, if anything.
    fn input(&self, name: &str) -> Option<(String, Result<Vec<u8>>)> {
        let _ = name;
        None
    }
}

/// No files at all.
///
/// ```
/// use lockgate_trace::{Files, NoFiles};
/// assert!(NoFiles.read("photo.jpg").is_err());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _path: &str) -> Result<Vec<u8>> {
        Err(Error::new(ErrorKind::NotFound, "there are no files"))
    }
}

/// The files of a folder, with inputs that replace pictures.
///
/// ```
/// use lockgate_trace::{Files, Folder};
/// let folder = Folder::new("examples");
/// assert!(folder.input("photo").is_none());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Folder {
    root: PathBuf,
    inputs: BTreeMap<String, PathBuf>,
}

impl Folder {
    /// A folder; paths in the program are relative to it.
    pub fn new(root: impl Into<PathBuf>) -> Folder {
        Folder { root: root.into(), inputs: BTreeMap::new() }
    }

    /// The same with another picture for `image NAME`. The path is as the process sees it.
    pub fn with_input(mut self, name: &str, path: impl Into<PathBuf>) -> Folder {
        self.inputs.insert(name.to_owned(), path.into());
        self
    }
}

impl Files for Folder {
    fn read(&self, path: &str) -> Result<Vec<u8>> {
        std::fs::read(self.root.join(path))
    }

    fn input(&self, name: &str) -> Option<(String, Result<Vec<u8>>)> {
        let path = self.inputs.get(name)?;
        Some((path.display().to_string(), std::fs::read(path)))
    }
}

//! Large zeroed arrays on huge pages, files as bytes, and prefetch, behind safe calls.
//!
//! An array is reserved at its largest size at start-up; memory is taken page by page when first
//! written, so a generous bound costs address space only.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Zeroable;
use memmap2::{Advice, Mmap, MmapMut, MmapOptions};

/// A zeroed array of fixed length, on huge pages where the system gives them.
#[derive(Debug)]
pub struct Array<T> {
    map: MmapMut,
    len: usize,
    _items: PhantomData<T>,
}

impl<T: Zeroable + Copy> Array<T> {
    /// Reserves `len` zeroed items. Fails only if the system refuses the address space.
    pub fn zeroed(len: usize) -> io::Result<Array<T>> {
        assert!(align_of::<T>() <= 4096, "a mapping is aligned to its page");
        let len_bytes = (len * size_of::<T>()).max(1);
        let map = MmapOptions::new()
            .len(len_bytes)
            .no_reserve_swap()
            .map_anon()?;
        // Refused where huge pages are compiled out: the array works all the same, slower.
        let _ = map.advise(Advice::HugePage);
        Ok(Array {
            map,
            len,
            _items: PhantomData,
        })
    }
}

impl<T> Deref for Array<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the mapping is `len * size_of::<T>()` bytes long, page-aligned, lives as long
        // as `self`, and every byte of it is either the kernel's zero, which `T: Zeroable` makes
        // a value of `T`, or was written through `deref_mut` as a `T`.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.len) }
    }
}

impl<T> DerefMut for Array<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; `&mut self` makes the borrow the only one.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().cast(), self.len) }
    }
}

/// A file's bytes as they stand in the system's cache, without a copy.
#[derive(Debug)]
pub struct FileMap {
    map: Mmap,
}

/// Maps a whole file to be read from front to back, as long as it is now.
///
/// For files that are finished. Bytes that another process writes meanwhile are seen or not; if
/// it cuts the file short, reading what is gone ends this process with SIGBUS.
pub fn map_file(file: &File) -> io::Result<FileMap> {
    // SAFETY: the mapping is private and read-only, and lives as long as the `FileMap`, so that
    // only another process could change what stands behind a `&[u8]`. That it does not is what
    // the caller is told above and nobody can check. Should it happen all the same, the readers
    // only ever take integers out of the bytes, for which every pattern is a value, and index
    // with bounds checks made on what they took, not on what is there.
    let map = unsafe { MmapOptions::new().map(file)? };
    // Refused on systems without it; the file reads all the same.
    let _ = map.advise(Advice::Sequential);
    Ok(FileMap { map })
}

impl Deref for FileMap {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        &self.map
    }
}

/// Asks for the cache line of `items[index]`; does nothing where there is no such item.
#[inline(always)]
pub fn prefetch<T>(items: &[T], index: usize) {
    if index < items.len() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the address is inside `items`; a prefetch reads nothing that the program sees,
        // and SSE is part of the architecture.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(items.as_ptr().add(index).cast());
        }
    }
}

/// Asks for one cache line of `items[index]`, the first being 0; does nothing where there is no
/// such item or no such line.
#[inline(always)]
pub fn prefetch_line<T>(items: &[T], index: usize, line: usize) {
    const LINE_BYTES: usize = 64;
    if index < items.len() && line < size_of::<T>() / LINE_BYTES {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the item is inside `items`, and the line inside the item; for the rest see
        // `prefetch`.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let item: *const i8 = items.as_ptr().add(index).cast();
            _mm_prefetch::<_MM_HINT_T0>(item.add(line * LINE_BYTES));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_starts_zeroed_and_keeps_what_is_written() {
        let mut array = Array::<u64>::zeroed(1 << 20).unwrap();
        assert!(array.iter().all(|&word| word == 0));
        array[1 << 19] = 7;
        prefetch(&array, 1 << 19);
        prefetch(&array, usize::MAX);
        prefetch_line(&[[0u64; 16]; 2], 1, 1);
        prefetch_line(&[[0u64; 16]; 2], 1, 2);
        prefetch_line(&[[0u64; 16]; 2], 2, 0);
        assert_eq!(array[1 << 19], 7);
    }

    #[test]
    fn a_mapped_file_reads_as_it_is() {
        let path = std::env::temp_dir().join(format!("tapeline-map-{}", std::process::id()));
        for content in [&b""[..], b"tapeline"] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(&map_file(&File::open(&path).unwrap()).unwrap()[..], content);
        }
        std::fs::remove_file(&path).unwrap();
    }
}

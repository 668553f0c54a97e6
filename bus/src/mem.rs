//! Large zeroed arrays on huge pages, files as bytes, and prefetch, behind safe calls.
//!
//! An array is reserved at its largest size at start-up; memory is taken page by page when first
//! written, so a generous bound costs address space only.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use bytemuck::Zeroable;
use memmap2::{Advice, Mmap, MmapMut, MmapOptions, MmapRaw};

/// Which pages the large arrays of this process get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Pages {
    /// Ordinary ones.
    Ordinary,
    /// Huge ones where the system has some.
    Advised,
    /// Huge ones that were set aside beforehand; advised where these do not suffice.
    Reserved,
}

/// Like an allocator's, this choice belongs to the process, and no structure should have to know.
static PAGES: AtomicU8 = AtomicU8::new(Pages::Advised as u8);
static ARRAYS: AtomicU64 = AtomicU64::new(0);
static FELL_BACK: AtomicU64 = AtomicU64::new(0);
static HUGE_PAGES: AtomicU64 = AtomicU64::new(0);

/// The exponent of a huge page's size: 2 MiB.
const HUGE_BITS: u8 = 21;

/// Chooses the pages of arrays that are made from now on.
pub fn set_pages(pages: Pages) {
    PAGES.store(pages as u8, Ordering::Relaxed);
}

/// What arrays were made so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// How many.
    pub arrays: u64,
    /// How many were to be on reserved pages and are not, because too few are free.
    pub fell_back: u64,
    /// How many huge pages all of them take if they are on reserved ones.
    pub huge_pages: u64,
}

/// What arrays were made so far in this process.
pub fn made() -> Made {
    Made {
        arrays: ARRAYS.load(Ordering::Relaxed),
        fell_back: FELL_BACK.load(Ordering::Relaxed),
        huge_pages: HUGE_PAGES.load(Ordering::Relaxed),
    }
}

/// From reserved pages; `None` where too few are free. They are taken at once and in full, since
/// a page that is missing later would end the process.
fn map_reserved(len_bytes: usize) -> Option<MmapMut> {
    let len_bytes = len_bytes.next_multiple_of(1 << HUGE_BITS);
    MmapOptions::new()
        .len(len_bytes)
        .huge(Some(HUGE_BITS))
        .map_anon()
        .ok()
}

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
        ARRAYS.fetch_add(1, Ordering::Relaxed);
        let pages = PAGES.load(Ordering::Relaxed);
        // A smaller one would leave most of a huge page unused.
        let is_large = len_bytes >= 1 << HUGE_BITS;
        if is_large {
            HUGE_PAGES.fetch_add(len_bytes.div_ceil(1 << HUGE_BITS) as u64, Ordering::Relaxed);
        }
        if is_large && pages == Pages::Reserved as u8 {
            if let Some(map) = map_reserved(len_bytes) {
                let _items = PhantomData;
                return Ok(Array { map, len, _items });
            }
            FELL_BACK.fetch_add(1, Ordering::Relaxed);
        }
        let map = MmapOptions::new()
            .len(len_bytes)
            .no_reserve_swap()
            .map_anon()?;
        if pages != Pages::Ordinary as u8 {
            // Refused where huge pages are compiled out: the array works all the same, slower.
            let _ = map.advise(Advice::HugePage);
        }
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
        // SAFETY: the mapping is at least `len * size_of::<T>()` bytes long, page-aligned, lives as long
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

/// Words of a file that all processes which map it see at once, and that outlive them.
#[derive(Debug)]
pub struct SharedWords {
    // Dropped before the mapping is.
    _guarded: Option<Guarded>,
    map: MmapRaw,
    count: usize,
}

/// Maps the first `count` words of a file, which must have them.
///
/// Where the file is cut short afterwards, all words are 0 from the first look on that finds one
/// gone, and are no longer shared. That holds of the first [`GUARDED_MAX`] of a process; with more,
/// such a look ends it by SIGBUS.
pub fn share_words(file: &File, count: usize) -> io::Result<SharedWords> {
    let (found, want) = (file.metadata()?.len(), count * size_of::<u64>());
    if found < want as u64 {
        let what = format!("{found} bytes, want {want}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let map = MmapOptions::new().len(want).map_raw(file)?;
    Ok(SharedWords {
        _guarded: Guarded::new(map.as_ptr().addr(), want),
        map,
        count,
    })
}

/// So many mappings can be guarded at a time.
pub const GUARDED_MAX: usize = 64;

/// Where the guarded mappings begin, 0 for none, and how many bytes each has.
static GUARDED: [(AtomicUsize, AtomicUsize); GUARDED_MAX] =
    [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; GUARDED_MAX];

/// What was done about SIGBUS before. None where ours could not be installed.
static BEFORE: OnceLock<Option<libc::sigaction>> = OnceLock::new();

/// A place in [`GUARDED`], free again when this is dropped.
#[derive(Debug)]
struct Guarded {
    place: usize,
}

impl Guarded {
    /// The mapping is that of the caller, who drops this before it unmaps.
    fn new(start: usize, len: usize) -> Option<Guarded> {
        BEFORE.get_or_init(install).as_ref()?;
        for (place, (at, bytes)) in GUARDED.iter().enumerate() {
            // Nobody looks at the length of a place that is only taken.
            let taken = at.compare_exchange(0, TAKEN, Ordering::AcqRel, Ordering::Relaxed);
            if taken.is_ok() {
                bytes.store(len, Ordering::Relaxed);
                at.store(start, Ordering::Release);
                return Some(Guarded { place });
            }
        }
        None
    }
}

/// No mapping begins here.
const TAKEN: usize = usize::MAX;

impl Drop for Guarded {
    fn drop(&mut self) {
        GUARDED[self.place].0.store(0, Ordering::Release);
    }
}

fn install() -> Option<libc::sigaction> {
    // SAFETY: all of these are C structures for which zeros are a value, both are given whole, and
    // the handler has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut ours: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        ours.sa_sigaction = on_bus_error as *const () as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&mut ours.sa_mask);
        (libc::sigaction(libc::SIGBUS, &ours, &mut before) == 0).then_some(before)
    }
}

/// A page that a file no longer has was touched: zeros take the place of the words it is of. Anything
/// else is for whoever was asked before, when the touch is tried again.
extern "C" fn on_bus_error(
    _signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO what happened, and for SIGBUS where. A
    // mapping in the list is alive: its owner takes it out of the list before it unmaps, and this
    // thread is looking at it. To map over it leaves addresses and length as they are. Nothing here
    // allocates or locks; `mmap` and `sigaction` are system calls and no more.
    unsafe {
        let at = (*info).si_addr().addr();
        for (start, bytes) in &GUARDED {
            let (start, bytes) = (start.load(Ordering::Acquire), bytes.load(Ordering::Relaxed));
            if start == 0 || start == TAKEN || at.wrapping_sub(start) >= bytes {
                continue;
            }
            let mapped = libc::mmap(
                std::ptr::without_provenance_mut(start),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            );
            if mapped != libc::MAP_FAILED {
                return;
            }
        }
        match BEFORE.get() {
            Some(Some(before)) => libc::sigaction(libc::SIGBUS, before, std::ptr::null_mut()),
            _ => libc::raise(libc::SIGKILL),
        };
    }
}

impl SharedWords {
    /// Waits until what was written to the words is on the disk.
    pub fn flush(&self) -> io::Result<()> {
        self.map.flush()
    }
}

impl Deref for SharedWords {
    type Target = [AtomicU64];
    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, `count` words long, and lives as long as `self`.
        // Every pattern of bits is a value of the type, and that others, in this process or in
        // another one, change the words meanwhile is what an atomic allows: this process reaches
        // them through this slice only, and the bytes are never borrowed as anything else. Where
        // the file became shorter, zeros are mapped in its place, at the same addresses.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.count) }
    }
}

/// Asks for huge pages under what a vector has reserved, as far as it fills any, where the system
/// gives them. To be called before it is filled. Its items stay as they are.
pub fn on_huge_pages<T>(items: &Vec<T>) {
    if PAGES.load(Ordering::Relaxed) == Pages::Ordinary as u8 {
        return;
    }
    let huge_bytes = 1usize << HUGE_BITS;
    let start = items.as_ptr().addr();
    let end = start + items.capacity() * size_of::<T>();
    let (first, end) = (
        start.next_multiple_of(huge_bytes),
        end / huge_bytes * huge_bytes,
    );
    if first < end {
        let address = items.as_ptr().cast_mut().wrapping_byte_add(first - start);
        // SAFETY: the advice decides which pages lie under the range, not what they hold, and the
        // range is inside of what the vector has reserved. Refused, it changes nothing.
        let _ = unsafe { libc::madvise(address.cast(), end - first, libc::MADV_HUGEPAGE) };
    }
}

/// Asks for the cache line of `items[index]`; of no use where there is no such item.
#[inline(always)]
pub fn prefetch<T>(items: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program sees and does nothing at an address that
    // is not mapped, so that any may be asked for; and SSE is part of the architecture.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(items.as_ptr().wrapping_add(index).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (items, index);
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

    /// The process lives, and what other files hold is untouched.
    #[test]
    fn words_of_a_file_that_was_cut_short_are_zeros() {
        let path = |name: &str| std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let (cut, whole) = (path("words-cut"), path("words-whole"));
        let shared = [&cut, &whole].map(|path| {
            std::fs::write(path, [7; 4096]).unwrap();
            let file = File::options().read(true).write(true).open(path).unwrap();
            let words = share_words(&file, 512).unwrap();
            (file, words)
        });
        let [(cut_file, cut_words), (_, whole_words)] = &shared;
        assert_eq!(
            cut_words[511].load(Ordering::Acquire),
            0x0707_0707_0707_0707
        );
        cut_file.set_len(0).unwrap();
        assert_eq!(cut_words[511].load(Ordering::Acquire), 0);
        cut_words[0].store(1, Ordering::Release);
        assert_eq!(cut_words[0].load(Ordering::Acquire), 1);
        assert_eq!(
            whole_words[0].load(Ordering::Acquire),
            0x0707_0707_0707_0707
        );
        for path in [cut, whole] {
            std::fs::remove_file(path).unwrap();
        }
    }

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
    fn an_array_works_on_whatever_pages_there_are() {
        for pages in [Pages::Reserved, Pages::Ordinary, Pages::Advised] {
            set_pages(pages);
            let before = made();
            // Larger than a huge page, and no multiple of one.
            let mut array = Array::<u64>::zeroed((3 << 20) / 8 + 1).unwrap();
            let last = array.len() - 1;
            array[last] = 7;
            assert_eq!((array[0], array[last]), (0, 7));
            let after = made();
            assert!(after.arrays > before.arrays && after.huge_pages >= before.huge_pages + 2);
            assert!(pages == Pages::Reserved || after.fell_back == before.fell_back);
        }
    }

    #[test]
    fn shared_words_are_the_files_and_a_short_file_has_none() {
        let path = std::env::temp_dir().join(format!("tapeline-words-{}", std::process::id()));
        std::fs::write(&path, [0; 24]).unwrap();
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        let (one, other) = (share_words(&open(), 3), share_words(&open(), 3));
        let (one, other) = (one.unwrap(), other.unwrap());
        one[2].store(7, Ordering::Release);
        assert_eq!(other[2].load(Ordering::Acquire), 7);
        one.flush().unwrap();
        assert_eq!(std::fs::read(&path).unwrap()[16], 7);
        let error = share_words(&open(), 4).unwrap_err();
        assert_eq!(error.to_string(), "24 bytes, want 32");
        std::fs::remove_file(&path).unwrap();
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

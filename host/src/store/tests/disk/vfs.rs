//! The engine's system layer over simulated machines: `sqlite3_vfs` and `sqlite3_io_methods`, with
//! the shared memory that a write-ahead log needs. It translates, and decides nothing.
//!
//! **Why what is unsafe here is sound.** The engine calls these functions with what its manual of
//! system layers promises: a `sqlite3_file` of at least `szOsFile` bytes that it gave to `xOpen`
//! first and gives to one call at a time, buffers of the length that stands beside them, and names
//! that end with a zero byte. `xOpen` writes every field of the file. Where it fails it leaves no
//! methods, and the engine calls none; where it succeeds the file owns a boxed [`Handle`], which
//! `xClose` takes back once and last. No function unwinds into C: they lock without poison, index
//! nothing out of bounds, and allocate no more than the host does.
#![allow(unsafe_code, reason = "the engine's system layer is a table of C functions")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{Ordering, fence};

use rusqlite::ffi;

use super::handle::{Handle, lock};
use super::locks::REGION_BYTES;
use super::machine::{Code, Fate, Op, code};

/// The layer's name among the engine's.
pub(super) const NAME: &CStr = c"lastword-simulated";

#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    handle: *mut Handle,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(raise),
    xUnlock: Some(lower),
    xCheckReservedLock: Some(is_reserved),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(map_index),
    xShmLock: Some(lock_index),
    xShmBarrier: Some(barrier),
    xShmUnmap: Some(unmap_index),
    xFetch: None,
    xUnfetch: None,
};

/// Tells the engine of the layer, once.
pub(super) fn register() {
    static DONE: OnceLock<c_int> = OnceLock::new();
    let done = *DONE.get_or_init(|| {
        let vfs = Box::new(ffi::sqlite3_vfs {
            iVersion: 2,
            szOsFile: size_of::<File>() as c_int,
            mxPathname: 512,
            pNext: std::ptr::null_mut(),
            zName: NAME.as_ptr(),
            pAppData: std::ptr::null_mut(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: None,
            xGetLastError: None,
            xCurrentTimeInt64: Some(current_time),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        });
        // SAFETY: the layer is leaked, so that it lives as long as the engine, and is not made the
        // default one.
        unsafe { ffi::sqlite3_vfs_register(Box::leak(vfs), 0) }
    });
    assert_eq!(done, ffi::SQLITE_OK, "the engine takes no system layer");
}

fn told(result: Result<(), Code>) -> c_int {
    result.err().unwrap_or(ffi::SQLITE_OK)
}

/// The name of a file in the engine's words.
unsafe fn text<'a>(name: *const c_char) -> Option<&'a str> {
    if name.is_null() {
        return None;
    }
    // SAFETY: a name of the engine's ends with a zero byte and lives as long as the call.
    unsafe { CStr::from_ptr(name) }.to_str().ok()
}

/// The handle of an open file.
unsafe fn handle<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Handle {
    // SAFETY: methods are only called on files whose `xOpen` succeeded and whose `xClose` has not
    // been called: `handle` is the box of `open`. The engine uses a file from one call at a time.
    unsafe { &mut *(*file.cast::<File>()).handle }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let file = file.cast::<File>();
    // SAFETY: `file` has `szOsFile` bytes, which is the size of a `File`, and nobody else sees it.
    unsafe {
        file.write(File {
            base: ffi::sqlite3_file { pMethods: std::ptr::null() },
            handle: std::ptr::null_mut(),
        });
    }
    // SAFETY: a name of the engine's, or null.
    let name = unsafe { text(name) };
    // A file without a name belongs to no machine: the engine keeps its own temporary ones in memory.
    let Some((machine, name)) = name.and_then(super::find) else { return ffi::SQLITE_CANTOPEN };
    match Handle::open(&machine, Some(&name), flags) {
        Ok(handle) => {
            // SAFETY: as above; `out` is null or the engine's.
            unsafe {
                (*file).handle = Box::into_raw(Box::new(handle));
                (*file).base.pMethods = &raw const METHODS;
                if !out.is_null() {
                    *out = flags;
                }
            }
            ffi::SQLITE_OK
        }
        Err(code) => code,
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let file = file.cast::<File>();
    // SAFETY: the box of `open`, taken back once: the engine calls nothing on a closed file.
    drop(unsafe { Box::from_raw((*file).handle) });
    // SAFETY: the memory of the file is the engine's until it frees it.
    unsafe { (*file).base.pMethods = std::ptr::null() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    into: *mut c_void,
    count: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: the engine's buffer of `count` bytes, which it does not look at meanwhile.
    let into =
        unsafe { std::slice::from_raw_parts_mut(into.cast::<u8>(), count.unsigned_abs() as usize) };
    // SAFETY: an open file.
    match unsafe { handle(file) }.read(at.unsigned_abs() as usize, into) {
        Ok(true) => ffi::SQLITE_OK,
        Ok(false) => ffi::SQLITE_IOERR_SHORT_READ,
        Err(code) => code,
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    count: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: the engine's buffer of `count` bytes.
    let from =
        unsafe { std::slice::from_raw_parts(from.cast::<u8>(), count.unsigned_abs() as usize) };
    // SAFETY: an open file.
    told(unsafe { handle(file) }.write(at.unsigned_abs() as usize, from))
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    // SAFETY: an open file.
    told(unsafe { handle(file) }.truncate(size.unsigned_abs() as usize))
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: an open file.
    told(unsafe { handle(file) }.sync())
}

unsafe extern "C" fn file_size(
    file: *mut ffi::sqlite3_file,
    out: *mut ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: an open file, and a number of the engine's to write to.
    unsafe { *out = handle(file).len() as i64 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn raise(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file.
    told(unsafe { handle(file) }.raise(level))
}

unsafe extern "C" fn lower(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file.
    unsafe { handle(file) }.lower(level);
    ffi::SQLITE_OK
}

unsafe extern "C" fn is_reserved(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: an open file, and a number of the engine's to write to.
    unsafe { *out = c_int::from(handle(file).is_reserved()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

/// As the engine's own layer says of disks on Linux.
unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    4096
}

/// The same: a write harms nothing beside it. [`super::medium`] keeps that and promises no more.
unsafe extern "C" fn characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn map_index(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    if size.unsigned_abs() as usize != REGION_BYTES {
        return ffi::SQLITE_IOERR_SHMSIZE;
    }
    // SAFETY: an open file.
    let mapped = unsafe { handle(file) }.map(region.unsigned_abs() as usize, extend != 0);
    match mapped {
        Ok(region) => {
            // SAFETY: a pointer of the engine's to write to. What it gets lives as long as the
            // index, which the handle keeps until it is unmapped or closed.
            unsafe { *out = region.unwrap_or(std::ptr::null_mut()).cast() };
            ffi::SQLITE_OK
        }
        Err(code) => code,
    }
}

unsafe extern "C" fn lock_index(
    file: *mut ffi::sqlite3_file,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    let (first, count) = (first.unsigned_abs() as usize, count.unsigned_abs() as usize);
    // SAFETY: an open file.
    told(unsafe { handle(file) }.lock_index(first, count, flags))
}

unsafe extern "C" fn barrier(_: *mut ffi::sqlite3_file) {
    fence(Ordering::SeqCst);
}

unsafe extern "C" fn unmap_index(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: an open file.
    unsafe { handle(file) }.unmap();
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    sync_folder: c_int,
) -> c_int {
    // SAFETY: a name of the engine's.
    let Some((machine, name)) = unsafe { text(name) }.and_then(super::find) else {
        return ffi::SQLITE_IOERR_DELETE;
    };
    let mut inside = lock(&machine);
    let life = inside.life;
    match inside.meet(Op::Delete, life) {
        Ok(Fate::Done) if !inside.delete(&name) => ffi::SQLITE_IOERR_DELETE_NOENT,
        Ok(Fate::Done) => {
            if sync_folder != 0 {
                inside.sync_names();
            }
            ffi::SQLITE_OK
        }
        Ok(Fate::Fails(fault)) => code(Op::Delete, fault),
        Err(code) => code,
    }
}

/// An empty file is none to the engine, as in its own layer.
unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: a name of the engine's.
    let Some((machine, name)) = unsafe { text(name) }.and_then(super::find) else {
        return ffi::SQLITE_IOERR_ACCESS;
    };
    let mut inside = lock(&machine);
    let there = match inside.named(&name) {
        Some(file) => inside.file(file).len() > 0,
        None => false,
    };
    // SAFETY: a number of the engine's to write to.
    unsafe { *out = c_int::from(there) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: a name of the engine's.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if name.len() > room.unsigned_abs() as usize {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: `out` has `room` bytes, and lies elsewhere.
    unsafe { std::ptr::copy_nonoverlapping(name.as_ptr().cast(), out, name.len()) };
    ffi::SQLITE_OK
}

/// The engine mixes this with nothing that a test compares.
unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, count: c_int, out: *mut c_char) -> c_int {
    // SAFETY: `out` has `count` bytes.
    unsafe { std::ptr::write_bytes(out, 0x5a, count.unsigned_abs() as usize) };
    count
}

/// Nobody else runs on a simulated machine who could give a lock back meanwhile.
unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, micros: c_int) -> c_int {
    micros
}

unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, out: *mut ffi::sqlite3_int64) -> c_int {
    // Milliseconds of the Julian calendar: some day in 2001. The store takes no time from here.
    // SAFETY: a number of the engine's to write to.
    unsafe { *out = 211_866_789_600_000 };
    ffi::SQLITE_OK
}

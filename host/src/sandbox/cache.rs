//! Compiled code, kept between starts because hosts restart often. The folder is private and every
//! entry is authenticated with a key that only this host's user can read: loading compiled code is
//! running it, so what this host did not write itself is never loaded. It knows no engine.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::CachePlace;
use crate::env::Env;

/// Names the layout of an entry; a new layout is another word.
const MAGIC: &[u8; 16] = b"lastword-code-1\n";
const MAC_BYTES: usize = 32;
const KEY_BYTES: usize = 32;
/// Entries that are kept; the oldest go first.
const ENTRIES_MAX: usize = 64;
/// Bytes of one entry: what is larger is compiled anew.
const ENTRY_BYTES_MAX: u64 = 512 << 20;

/// The cache of one host.
pub(super) struct Cache {
    dir: PathBuf,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

/// Names an entry: digest of the component, of the engine and of its settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct CacheKey(pub(super) [u8; 32]);

impl Cache {
    /// Opens the folder and the key, making what is missing.
    ///
    /// # Errors
    /// A sentence, where they cannot be made or are not ours alone.
    pub(super) fn open(place: &CachePlace, env: &Env) -> Result<Self, String> {
        let shown = place.dir.display();
        private_dir(&place.dir)
            .map_err(|e| format!("the cache of compiled code cannot be kept in {shown}: {e}"))?;
        let shown = place.key_file.display();
        let key = read_or_make_key(&place.key_file, env)
            .map_err(|e| format!("the key of the cache cannot be kept in {shown}: {e}"))?;
        Ok(Self { dir: place.dir.clone(), key })
    }

    /// The compiled code under a key, if it is there and ours.
    pub(super) fn load(&self, key: &CacheKey) -> Option<Vec<u8>> {
        let path = self.path(key);
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).custom_flags(NO_FOLLOW).open(&path).ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.len() > ENTRY_BYTES_MAX {
            return None;
        }
        let mut entry = Vec::with_capacity(usize::try_from(metadata.len()).ok()?);
        file.take(ENTRY_BYTES_MAX).read_to_end(&mut entry).ok()?;
        let given = entry.strip_prefix(MAGIC)?.get(..MAC_BYTES)?.to_vec();
        let code = entry.split_off(MAGIC.len() + MAC_BYTES);
        if self.mac(key, &code)?.verify_slice(&given).is_err() {
            tracing::warn!(
                entry = %path.display(),
                "an entry of the code cache is not ours or is broken; it is ignored"
            );
            return None;
        }
        Some(code)
    }

    /// Keeps compiled code. A cache that cannot be written costs time, nothing else.
    pub(super) fn store(&self, key: &CacheKey, code: &[u8], env: &Env) {
        if let Err(error) = self.write(key, code, env) {
            tracing::warn!(%error, "compiled code could not be cached");
        }
        self.prune();
    }

    fn write(&self, key: &CacheKey, code: &[u8], env: &Env) -> io::Result<()> {
        let mac = self.mac(key, code).ok_or_else(|| io::Error::other("no key"))?;
        let temporary = self.dir.join(format!("{:016x}.new", env.random_u64()));
        let written = (|| {
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(MAGIC)?;
            file.write_all(&mac.finalize().into_bytes())?;
            file.write_all(code)?;
            // Not synced: a torn entry fails its authentication and is compiled anew.
            fs::rename(&temporary, self.path(key))
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn prune(&self) {
        let Ok(dir) = fs::read_dir(&self.dir) else { return };
        let entries = dir.flatten().filter_map(|entry| {
            let changed = entry.metadata().ok()?.modified().ok()?;
            Some((changed, entry.path()))
        });
        let mut entries: Vec<_> = entries.take(16 * ENTRIES_MAX).collect();
        entries.sort();
        let over = entries.len().saturating_sub(ENTRIES_MAX);
        for (_, path) in entries.into_iter().take(over) {
            let _ = fs::remove_file(path);
        }
    }

    fn path(&self, key: &CacheKey) -> PathBuf {
        self.dir.join(format!("{}.code", hex::encode(key.0)))
    }

    /// Over the key too: an entry moved to another name is another entry.
    fn mac(&self, key: &CacheKey, code: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_slice()).ok()?;
        mac.update(MAGIC);
        mac.update(&key.0);
        mac.update(code);
        Some(mac)
    }
}

/// `O_NOFOLLOW`: an entry that is a link is nobody's.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

fn private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let metadata = fs::symlink_metadata(dir)?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it is no folder of this user"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn read_or_make_key(path: &Path, env: &Env) -> io::Result<Zeroizing<[u8; KEY_BYTES]>> {
    if let Some(key) = read_key(path)? {
        return Ok(key);
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    env.fill(&mut key[..]);
    // Written aside and linked whole: two commands at once agree on one key.
    let aside = path.with_extension(format!("{:016x}.new", env.random_u64()));
    let made = (|| {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(&key[..])?;
        fs::hard_link(&aside, path)
    })();
    let _ = fs::remove_file(&aside);
    match made {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read_key(path)?.ok_or_else(|| io::Error::other("somebody else keeps changing it"))
        }
        Err(error) => Err(error),
    }
}

/// None where there is none. One that others could read authenticates nothing: it is removed, and
/// what it signed is dropped.
fn read_key(path: &Path) -> io::Result<Option<Zeroizing<[u8; KEY_BYTES]>>> {
    let mut options = fs::OpenOptions::new();
    let mut file = match options.read(true).custom_flags(NO_FOLLOW).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    let private = metadata.permissions().mode() & 0o077 == 0;
    if !ours || !private || metadata.len() != KEY_BYTES as u64 {
        tracing::warn!(key = %path.display(), "the cache's key was not private; a new one is made");
        fs::remove_file(path)?;
        return Ok(None);
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    file.read_exact(&mut key[..])?;
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dir: &tempfile::TempDir) -> CachePlace {
        CachePlace { dir: dir.path().join("cache"), key_file: dir.path().join("cache.key") }
    }

    #[tokio::test]
    async fn what_was_stored_is_loaded_by_the_next_start_and_by_no_other_key() {
        let (dir, env) = (tempfile::tempdir().unwrap(), Env::system());
        let cache = Cache::open(&place(&dir), &env).unwrap();
        cache.store(&CacheKey([1; 32]), b"code", &env);
        let again = Cache::open(&place(&dir), &env).unwrap();
        assert_eq!(again.load(&CacheKey([1; 32])).as_deref(), Some(b"code".as_slice()));
        assert_eq!(again.load(&CacheKey([2; 32])), None);
        fs::rename(again.path(&CacheKey([1; 32])), again.path(&CacheKey([2; 32]))).unwrap();
        assert_eq!(again.load(&CacheKey([2; 32])), None, "an entry under another name");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&place(&dir).dir), mode(&place(&dir).key_file)), (0o700, 0o600));
    }

    #[tokio::test]
    async fn hostile_entries_are_ignored() {
        let (dir, env) = (tempfile::tempdir().unwrap(), Env::system());
        let cache = Cache::open(&place(&dir), &env).unwrap();
        let key = CacheKey([1; 32]);
        cache.store(&key, b"code", &env);
        let path = cache.path(&key);
        let good = fs::read(&path).unwrap();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert_eq!(cache.load(&key), None, "byte {place}");
        }
        for bad in [&b""[..], b"code", &good[..good.len() - 1], &[good.as_slice(), b"x"].concat()] {
            fs::write(&path, bad).unwrap();
            assert_eq!(cache.load(&key), None);
        }
        fs::remove_file(&path).unwrap();
        let aside = dir.path().join("aside");
        fs::write(&aside, &good).unwrap();
        std::os::unix::fs::symlink(&aside, &path).unwrap();
        assert_eq!(cache.load(&key), None, "a link");
    }

    #[tokio::test]
    async fn a_key_that_others_may_read_is_replaced_and_what_it_signed_is_dropped() {
        let (dir, env) = (tempfile::tempdir().unwrap(), Env::system());
        let cache = Cache::open(&place(&dir), &env).unwrap();
        cache.store(&CacheKey([1; 32]), b"code", &env);
        let key_file = place(&dir).key_file;
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).unwrap();
        let again = Cache::open(&place(&dir), &env).unwrap();
        assert_eq!(again.load(&CacheKey([1; 32])), None);
        assert_eq!(fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

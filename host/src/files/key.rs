//! The key by which a handler gets at the files of its own turn, in addresses that it is given: an
//! authenticator of turn and try, under a secret of this data folder. It is asked for while that
//! try runs and says nothing afterwards. A host that starts again gives the same, so that workers
//! that outlive a restart go on.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::env::Env;
use crate::lifecycle::id::TurnId;

const SECRET_BYTES: usize = 32;
/// Hex characters of a key: 128 bits.
const KEY_CHARS: usize = 32;

/// The secret of one data folder.
#[derive(Clone)]
pub struct FileKey(Zeroizing<[u8; SECRET_BYTES]>);

/// Where the secret stands: `files.key`, made where it is missing, for its owner alone.
pub struct KeyFile;

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileKey")
    }
}

impl KeyFile {
    /// Reads or makes the secret.
    ///
    /// # Errors
    /// The system's, or where the file holds something else.
    pub fn open(data_dir: &Path, env: &Env) -> io::Result<FileKey> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = data_dir.join("files.key");
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        match std::fs::File::open(&path) {
            Ok(mut file) => {
                file.read_exact(&mut *secret)?;
                return Ok(FileKey(secret));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        env.fill(&mut *secret);
        // Under another name first: a host that dies here leaves no half of a secret.
        let new = data_dir.join("files.key.new");
        let _ = std::fs::remove_file(&new);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&*secret)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        Ok(FileKey(secret))
    }
}

impl FileKey {
    /// A secret of this process alone: for tests and embedded hosts without a folder.
    #[must_use]
    pub fn random(env: &Env) -> Self {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        env.fill(&mut *secret);
        Self(secret)
    }

    /// The key of one try.
    #[must_use]
    pub fn of(&self, turn: TurnId, try_number: u32) -> String {
        // A key of any length is taken; it cannot fail.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&*self.0) else { return String::new() };
        mac.update(format!("lastword.files.1 {turn} {try_number}").as_bytes());
        let mut key = hex::encode(mac.finalize().into_bytes());
        key.truncate(KEY_CHARS);
        key
    }

    /// Whether `given` is the key of this try.
    #[must_use]
    pub fn fits(&self, turn: TurnId, try_number: u32, given: &str) -> bool {
        let right = self.of(turn, try_number);
        right.len() == KEY_CHARS && right.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_of_one_try_and_the_same_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _guard = runtime.enter();
        let env = Env::simulated(1, 0);
        let (first, again) =
            (KeyFile::open(dir.path(), &env).unwrap(), KeyFile::open(dir.path(), &env).unwrap());
        let turn = TurnId { number: 7, nonce: 8 };
        let key = first.of(turn, 2);
        assert!(again.fits(turn, 2, &key));
        assert!(!again.fits(turn, 3, &key));
        assert!(!again.fits(TurnId { number: 7, nonce: 9 }, 2, &key));
        assert!(!again.fits(turn, 2, ""));
        assert!(!FileKey::random(&env).fits(turn, 2, &key));
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(dir.path().join("files.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

//! The config: any text is read whole or refused with places in it, and never quoted where it may
//! be a secret.

use std::path::Path;

use lastword::config::Config;

pub(super) fn take(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (file, folder) = (Path::new("lastword.toml"), Path::new("/srv/lastword"));
    match Config::parse(text, file, folder) {
        Ok(config) => {
            let again = Config::parse(text, file, folder);
            assert_eq!(again.as_ref(), Ok(&config), "the same text was read in two ways");
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty(), "refused without a word");
            let told = errors.to_string();
            assert!(!told.trim().is_empty(), "refused without a sentence");
        }
    }
}

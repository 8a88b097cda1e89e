//! Accounts at authorities, one for each directory, kept with their keys below the state directory.
//!
//! Invariant: an account's file is whole, has mode 0600, and is written before the account is used.

use std::path::{Path, PathBuf};

use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use serde::{Deserialize, Serialize};

use super::http::{Http, again, trouble};
use super::settings::Settings;
use super::trouble::{AcmeError, Kind};
use super::{digest, local};
use crate::sys::file::{FileError, Owner, make_directory, read_text, write_atomic};
use crate::sys::say::{NOTICE, WARNING, say};

/// The version of the file's shape.
const SCHEMA: u32 = 1;
const SECRET: Owner = Owner::Keep {
    new_file_mode: 0o600,
};

#[derive(Serialize, Deserialize)]
struct Kept {
    schema: u32,
    directory: String,
    contact: Option<String>,
    credentials: serde_json::Value,
}

/// The account at the directory of `settings`.
pub struct Accounts<'a> {
    pub state: &'a Path,
    pub settings: &'a Settings,
    pub http: &'a Http,
}

impl Accounts<'_> {
    /// Opens the account that is there, or registers one.
    ///
    /// # Errors
    /// If the authority does not take it, or it cannot be kept.
    pub async fn open(&self) -> Result<Account, AcmeError> {
        let account = match self.read()? {
            Some(mut kept) => {
                let account = self.restore(&kept).await?;
                if kept.contact != self.settings.contact {
                    self.change_contact(&account, &mut kept).await?;
                }
                account
            }
            None => self.register().await?,
        };
        Ok(account)
    }

    /// The account that is there, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, or the directory does not answer.
    pub async fn existing(&self) -> Result<Option<Account>, AcmeError> {
        match self.read()? {
            Some(kept) => self.restore(&kept).await.map(Some),
            None => Ok(None),
        }
    }

    /// The authority does not know the account: its file is put aside.
    ///
    /// # Errors
    /// If the file cannot be moved.
    pub fn put_aside(&self) -> Result<(), AcmeError> {
        let path = self.path();
        let old = path.with_extension("json.old");
        say(
            WARNING,
            &format!(
                "{} does not know our account any more; a new one is registered",
                self.settings.directory
            ),
        );
        std::fs::rename(&path, old).map_err(|e| {
            AcmeError::new(
                Kind::Local,
                format!("cannot move `{}`: {e}", path.display()),
            )
        })
    }

    fn path(&self) -> PathBuf {
        let name = digest(&[&self.settings.directory]);
        self.state.join("accounts").join(format!("{name}.json"))
    }

    fn read(&self) -> Result<Option<Kept>, AcmeError> {
        let path = self.path();
        let damaged = |why: String| {
            AcmeError::new(
                Kind::Local,
                format!("cannot use `{}`: {why}", path.display()),
            )
            .hint("remove the file: a new account is then registered")
        };
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(local(&error)),
        };
        let kept: Kept = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
        match kept.schema {
            SCHEMA => Ok(Some(kept)),
            other => Err(damaged(format!(
                "it has schema {other}, and this version knows {SCHEMA}"
            ))),
        }
    }

    fn write(&self, kept: &Kept) -> Result<(), FileError> {
        let path = self.path();
        if let Some(directory) = path.parent() {
            make_directory(directory, 0o700)?;
        }
        let text = serde_json::to_string_pretty(kept).unwrap_or_default();
        write_atomic(&path, text.as_bytes(), SECRET)
    }

    async fn restore(&self, kept: &Kept) -> Result<Account, AcmeError> {
        let credentials = || serde_json::from_value::<AccountCredentials>(kept.credentials.clone());
        // It asks for the directory, no more.
        let restored = again(async || {
            let http = Box::new(self.http.clone());
            Account::builder_with_http(http)
                .from_credentials(credentials()?)
                .await
        });
        restored.await.map_err(|e| trouble(&e, self.http.told()))
    }

    async fn register(&self) -> Result<Account, AcmeError> {
        let settings = self.settings;
        let contact: Vec<&str> = settings.contact.as_deref().into_iter().collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let binding = settings.account_binding.as_ref();
        let binding = binding.map(|b| ExternalAccountKey::new(b.id.clone(), &b.key));
        let registered = again(async || {
            let builder = Account::builder_with_http(Box::new(self.http.clone()));
            let directory = settings.directory.clone();
            builder.create(&new, directory, binding.as_ref()).await
        });
        let (account, credentials) = registered
            .await
            .map_err(|e| trouble(&e, self.http.told()))?;
        let credentials = serde_json::to_value(&credentials)
            .map_err(|e| AcmeError::new(Kind::Local, e.to_string()))?;
        let kept = Kept {
            schema: SCHEMA,
            directory: settings.directory.clone(),
            contact: settings.contact.clone(),
            credentials,
        };
        self.write(&kept).map_err(|e| local(&e))?;
        say(
            NOTICE,
            &format!("an account is registered at {}", settings.directory),
        );
        Ok(account)
    }

    /// That somebody else is written to is no reason to have no certificate.
    async fn change_contact(&self, account: &Account, kept: &mut Kept) -> Result<(), AcmeError> {
        let contact: Vec<&str> = self.settings.contact.as_deref().into_iter().collect();
        match again(async || account.update_contacts(&contact).await).await {
            Ok(()) => {
                kept.contact.clone_from(&self.settings.contact);
                self.write(kept).map_err(|e| local(&e))
            }
            Err(error) => {
                let why = trouble(&error, self.http.told());
                say(
                    WARNING,
                    &format!(
                        "the account's address of contact is not changed: {}",
                        why.told()
                    ),
                );
                Ok(())
            }
        }
    }
}

//! `LOGIN user password` (RFC 3501 §6.2.3).

use std::fmt;

use crate::reader::{Parsed, Reader};

#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: Vec<u8>,
    pub password: Vec<u8>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &String::from_utf8_lossy(&self.user)).finish_non_exhaustive()
    }
}

pub(super) fn parse(reader: &mut Reader<'_>) -> Parsed<Login> {
    let user = reader.astring("expected a user name")?.into_owned();
    reader.space()?;
    let password = reader.astring("expected a password")?.into_owned();
    Ok(Login { user, password })
}

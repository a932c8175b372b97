//! Commands, a file for each with arguments (RFC 3501 §6 and extensions).
//!
//! | command | when | carried out by |
//! |---|---|---|
//! | CAPABILITY, ID, NAMESPACE, ENABLE, STARTTLS, LOGOUT | any state or as its RFC says | the machine |
//! | AUTHENTICATE, LOGIN | before authentication | driver |
//! | SELECT … APPEND, GETQUOTA … | authenticated or selected | driver |
//! | CHECK … MOVE | selected | driver |

pub mod append;
mod authenticate;
mod copy;
mod create;
mod enable;
mod expunge;
pub mod fetch;
mod id;
pub mod list;
mod login;
mod quota;
mod rename;
pub mod search;
pub mod select;
pub mod status;
pub mod store;

pub use append::Append;
pub use authenticate::Authenticate;
pub use copy::Copy;
pub use create::Create;
pub use fetch::{Fetch, FetchItem};
pub use list::{List, Lsub};
pub use login::Login;
pub use rename::Rename;
pub use search::{Search, SearchKey};
pub use select::Select;
pub use status::{Status, StatusItem};
pub use store::{Store, StoreMode};

use crate::reader::{Parsed, Reader, expected};
use crate::sequence::SequenceSet;

/// A command that was read to its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Capability,
    Noop,
    Logout,
    Id,
    StartTls,
    Authenticate(Authenticate),
    Login(Login),
    Namespace,
    /// The extensions that are known and wanted on.
    Enable {
        condstore: bool,
    },
    Select(Select),
    Create(Create),
    Delete(String),
    Rename(Rename),
    Subscribe(String),
    Unsubscribe(String),
    List(List),
    Lsub(Lsub),
    Status(Status),
    Idle,
    /// GETQUOTA's root name.
    GetQuota(Vec<u8>),
    /// GETQUOTAROOT's mailbox.
    GetQuotaRoot(String),
    Check,
    Close,
    Unselect,
    /// EXPUNGE, or UID EXPUNGE with its set.
    Expunge(Option<SequenceSet>),
    Search(Search),
    Fetch(Fetch),
    Store(Store),
    Copy(Copy),
    Move(Copy),
}

/// In which states a command is allowed (RFC 3501 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    NotAuthenticated,
    Authenticated,
    Selected,
}

/// The command's arguments are read only in a state that allows it.
pub(crate) fn when(name: &str) -> Option<When> {
    Some(match name {
        "CAPABILITY" | "NOOP" | "LOGOUT" | "ID" => When::Always,
        "STARTTLS" | "AUTHENTICATE" | "LOGIN" => When::NotAuthenticated,
        "NAMESPACE" | "ENABLE" | "SELECT" | "EXAMINE" | "CREATE" | "DELETE" | "RENAME" | "SUBSCRIBE"
        | "UNSUBSCRIBE" | "LIST" | "LSUB" | "STATUS" | "APPEND" | "IDLE" | "GETQUOTA" | "GETQUOTAROOT" => {
            When::Authenticated
        }
        "CHECK" | "CLOSE" | "UNSELECT" | "EXPUNGE" | "SEARCH" | "FETCH" | "STORE" | "COPY" | "MOVE"
        | "UID" => When::Selected,
        _ => return None,
    })
}

/// Reads the arguments of the command `name`, which is in upper case and known to [`when`]. APPEND is not
/// here: it is begun before it is whole.
pub(crate) fn parse(name: &str, reader: &mut Reader<'_>) -> Parsed<Command> {
    let command = match name {
        "CAPABILITY" => Command::Capability,
        "NOOP" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "STARTTLS" => Command::StartTls,
        "NAMESPACE" => Command::Namespace,
        "IDLE" => Command::Idle,
        "CHECK" => Command::Check,
        "CLOSE" => Command::Close,
        "UNSELECT" => Command::Unselect,
        "EXPUNGE" => Command::Expunge(None),
        "UID" => {
            reader.space()?;
            let name = reader.atom("expected a command behind UID")?.to_ascii_uppercase();
            reader.space()?;
            match name.as_str() {
                "EXPUNGE" => Command::Expunge(Some(expunge::parse_uids(reader)?)),
                "SEARCH" => Command::Search(search::parse(reader, true)?),
                "FETCH" => Command::Fetch(fetch::parse(reader, true)?),
                "STORE" => Command::Store(store::parse(reader, true)?),
                "COPY" => Command::Copy(copy::parse(reader, true)?),
                "MOVE" => Command::Move(copy::parse(reader, true)?),
                _ => return expected("UID goes with FETCH, STORE, SEARCH, COPY, MOVE and EXPUNGE only"),
            }
        }
        _ => {
            reader.space()?;
            parse_with_arguments(name, reader)?
        }
    };
    reader.end()?;
    Ok(command)
}

fn parse_with_arguments(name: &str, reader: &mut Reader<'_>) -> Parsed<Command> {
    Ok(match name {
        "ID" => id::parse(reader)?,
        "AUTHENTICATE" => Command::Authenticate(authenticate::parse(reader)?),
        "LOGIN" => Command::Login(login::parse(reader)?),
        "ENABLE" => enable::parse(reader)?,
        "SELECT" => Command::Select(select::parse(reader, false)?),
        "EXAMINE" => Command::Select(select::parse(reader, true)?),
        "CREATE" => Command::Create(create::parse(reader)?),
        "DELETE" => Command::Delete(reader.mailbox()?),
        "RENAME" => Command::Rename(rename::parse(reader)?),
        "SUBSCRIBE" => Command::Subscribe(reader.mailbox()?),
        "UNSUBSCRIBE" => Command::Unsubscribe(reader.mailbox()?),
        "LIST" => Command::List(list::parse(reader)?),
        "LSUB" => Command::Lsub(list::parse_lsub(reader)?),
        "STATUS" => Command::Status(status::parse(reader)?),
        "GETQUOTA" => quota::parse_root(reader)?,
        "GETQUOTAROOT" => Command::GetQuotaRoot(reader.mailbox()?),
        "SEARCH" => Command::Search(search::parse(reader, false)?),
        "FETCH" => Command::Fetch(fetch::parse(reader, false)?),
        "STORE" => Command::Store(store::parse(reader, false)?),
        "COPY" => Command::Copy(copy::parse(reader, false)?),
        "MOVE" => Command::Move(copy::parse(reader, false)?),
        _ => return expected("unknown command"),
    })
}

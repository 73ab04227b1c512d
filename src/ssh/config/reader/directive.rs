//! The directives of OpenSSH 9.2, which all newer ones know too.

/// What a keyword is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Begins a block by patterns for the name that was asked about.
    Host,
    /// Begins a block by criteria.
    Match,
    /// Brings in other files.
    Include,
    /// Sets what this program uses, under the name that `ssh -G` prints.
    Used(&'static str, Form),
    /// Sets what this program does not use; only its form is looked at.
    Unused(Form),
    /// ssh passes it over, whatever its value.
    Ignored,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One word.
    Text,
    /// One path, of which each line adds another.
    More,
    /// Several paths, or `none` alone.
    Paths,
    /// The rest of the line, with quotes and all.
    Command,
    /// Hosts to go through.
    Jump,
    /// A socket, or a variable's name after `$`.
    Agent,
    /// From 1 to 65535.
    Port,
    /// From the first number up.
    Number(u32),
    /// Seconds, or with the units s, m, h, d and w.
    Time,
    /// `yes`, `no` or a time.
    Persist,
    /// One of these words in any case, each with how `ssh -G` prints it.
    Choice(&'static [(&'static str, &'static str)]),
    /// As [`Form::Choice`]; another that ssh takes has effects that are not known here.
    Off(&'static [(&'static str, &'static str)]),
    /// Algorithms of one kind, with commas between.
    Names(&'static [&'static str]),
    /// Words of which nothing more is known here.
    Any,
    /// `none` alone, or words whose effect is not known here.
    NoneOnly,
}

const FLAG: Form = Form::Choice(&[("yes", "yes"), ("no", "no"), ("true", "yes"), ("false", "no")]);
const ASK: Form =
    Form::Choice(&[("yes", "true"), ("no", "false"), ("true", "true"), ("false", "false"), ("ask", "ask")]);
const PUBKEY: Form = Form::Choice(&[
    ("yes", "true"),
    ("no", "false"),
    ("true", "true"),
    ("false", "false"),
    ("unbound", "unbound"),
    ("host-bound", "host-bound"),
]);
const FAMILY: Form = Form::Choice(&[("any", "any"), ("inet", "inet"), ("inet6", "inet6")]);
const STRICT: Form = Form::Choice(&[
    ("yes", "true"),
    ("no", "false"),
    ("true", "true"),
    ("false", "false"),
    ("ask", "ask"),
    ("off", "false"),
    ("accept-new", "accept-new"),
]);
const MASTER: Form = Form::Choice(&[
    ("yes", "true"),
    ("no", "false"),
    ("true", "true"),
    ("false", "false"),
    ("auto", "auto"),
    ("ask", "ask"),
    ("autoask", "autoask"),
]);
const TTY: Form = Form::Choice(&[
    ("yes", "true"),
    ("no", "false"),
    ("true", "true"),
    ("false", "false"),
    ("auto", "auto"),
    ("force", "force"),
]);
const COMPRESSION: Form = Form::Choice(&[("yes", "yes"), ("no", "no")]);
const LEVEL: Form = Form::Choice(&[
    ("quiet", "QUIET"),
    ("fatal", "FATAL"),
    ("error", "ERROR"),
    ("info", "INFO"),
    ("verbose", "VERBOSE"),
    ("debug", "DEBUG"),
    ("debug1", "DEBUG1"),
    ("debug2", "DEBUG2"),
    ("debug3", "DEBUG3"),
]);
/// What changes more than one value when it is on.
const OFF: Form = Form::Off(&[("no", "no"), ("false", "no")]);
const SESSION: Form = Form::Off(&[("default", "default"), ("none", "none")]);

/// Algorithms that every OpenSSH from 8.5 to 10 can do, less SHA-1's and DSA's last ones, which are being taken out.
const CIPHERS: Form = Form::Names(&[
    "3des-cbc",
    "aes128-cbc",
    "aes192-cbc",
    "aes256-cbc",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
]);
const MACS: Form = Form::Names(&[
    "hmac-sha1",
    "hmac-sha1-96",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-md5",
    "hmac-md5-96",
    "umac-64@openssh.com",
    "umac-128@openssh.com",
    "hmac-sha1-etm@openssh.com",
    "hmac-sha1-96-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-md5-etm@openssh.com",
    "hmac-md5-96-etm@openssh.com",
    "umac-64-etm@openssh.com",
    "umac-128-etm@openssh.com",
]);
const KEX: Form = Form::Names(&[
    "diffie-hellman-group1-sha1",
    "diffie-hellman-group14-sha1",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group-exchange-sha1",
    "diffie-hellman-group-exchange-sha256",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "sntrup761x25519-sha512@openssh.com",
]);
/// Kinds of keys and signatures: first the plain ones, with which an authority signs certificates.
const SIGNATURES: &[&str] = &[
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "rsa-sha2-256",
    "rsa-sha2-512",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "ssh-rsa-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
];
const KEYS: Form = Form::Names(SIGNATURES);
const PLAIN: Form = Form::Names(SIGNATURES.split_at(7).0);

/// What `keyword` (lower case) is; `None` for one that is not known here.
pub(super) fn kind(keyword: &str) -> Option<Kind> {
    Some(match keyword {
        "host" => Kind::Host,
        "match" => Kind::Match,
        "include" => Kind::Include,

        "hostname" => Kind::Used("hostname", Form::Text),
        "port" => Kind::Used("port", Form::Port),
        "user" => Kind::Used("user", Form::Text),
        "addressfamily" => Kind::Used("addressfamily", FAMILY),
        "hostkeyalias" => Kind::Used("hostkeyalias", Form::Text),
        "hashknownhosts" => Kind::Used("hashknownhosts", FLAG),
        "userknownhostsfile" => Kind::Used("userknownhostsfile", Form::Paths),
        "globalknownhostsfile" => Kind::Used("globalknownhostsfile", Form::Paths),
        "proxyjump" => Kind::Used("proxyjump", Form::Jump),
        "proxycommand" => Kind::Used("proxycommand", Form::Command),
        "identityfile" | "identityfile2" => Kind::Used("identityfile", Form::More),
        "certificatefile" => Kind::Used("certificatefile", Form::More),
        "identitiesonly" => Kind::Used("identitiesonly", FLAG),
        "identityagent" => Kind::Used("identityagent", Form::Agent),
        "pubkeyauthentication" => Kind::Used("pubkeyauthentication", PUBKEY),
        "pubkeyacceptedalgorithms" | "pubkeyacceptedkeytypes" => Kind::Used("pubkeyacceptedalgorithms", KEYS),
        "hostkeyalgorithms" => Kind::Used("hostkeyalgorithms", KEYS),
        "casignaturealgorithms" => Kind::Used("casignaturealgorithms", PLAIN),
        "kexalgorithms" => Kind::Used("kexalgorithms", KEX),
        "ciphers" => Kind::Used("ciphers", CIPHERS),
        "macs" => Kind::Used("macs", MACS),
        "requiredrsasize" => Kind::Used("requiredrsasize", Form::Number(0)),
        "knownhostscommand" => Kind::Used("knownhostscommand", Form::Command),
        "revokedhostkeys" => Kind::Used("revokedhostkeys", Form::Text),
        "verifyhostkeydns" => Kind::Used("verifyhostkeydns", ASK),
        "bindaddress" => Kind::Used("bindaddress", Form::Text),
        "bindinterface" => Kind::Used("bindinterface", Form::Text),
        "remotecommand" => Kind::Used("remotecommand", Form::Command),
        // Used in that they must be off.
        "canonicalizehostname" => Kind::Used("canonicalizehostname", Form::Off(&[("no", "false"), ("false", "false")])),
        "canonicalizepermittedcnames" => Kind::Used("canonicalizepermittedcnames", Form::NoneOnly),
        "forkafterauthentication" => Kind::Used("forkafterauthentication", OFF),
        "sessiontype" => Kind::Used("sessiontype", SESSION),

        "batchmode"
        | "challengeresponseauthentication"
        | "checkhostip"
        | "clearallforwardings"
        | "canonicalizefallbacklocal"
        | "enableescapecommandline"
        | "enablesshkeysign"
        | "exitonforwardfailure"
        | "forwardx11"
        | "forwardx11trusted"
        | "gatewayports"
        | "gssapiauthentication"
        | "gssapidelegatecredentials"
        | "hostbasedauthentication"
        | "kbdinteractiveauthentication"
        | "keepalive"
        | "nohostauthenticationforlocalhost"
        | "passwordauthentication"
        | "permitlocalcommand"
        | "proxyusefdpass"
        | "stdinnull"
        | "streamlocalbindunlink"
        | "tcpkeepalive"
        | "visualhostkey" => Kind::Unused(FLAG),
        "canonicalizemaxdots" | "numberofpasswordprompts" | "serveralivecountmax" => Kind::Unused(Form::Number(0)),
        "connectionattempts" => Kind::Unused(Form::Number(1)),
        "connecttimeout" | "forwardx11timeout" | "serveraliveinterval" => Kind::Unused(Form::Time),
        "stricthostkeychecking" => Kind::Unused(STRICT),
        "controlmaster" => Kind::Unused(MASTER),
        "updatehostkeys" => Kind::Unused(ASK),
        "requesttty" => Kind::Unused(TTY),
        "compression" => Kind::Unused(COMPRESSION),
        "localcommand" => Kind::Unused(Form::Command),
        "controlpersist" => Kind::Unused(Form::Persist),
        "loglevel" => Kind::Unused(LEVEL),
        "controlpath"
        | "dynamicforward"
        | "escapechar"
        | "fingerprinthash"
        | "forwardagent"
        | "hostbasedacceptedalgorithms"
        | "hostbasedkeytypes"
        | "ignoreunknown"
        | "kbdinteractivedevices"
        | "pkcs11provider"
        | "preferredauthentications"
        | "securitykeyprovider"
        | "streamlocalbindmask"
        | "syslogfacility"
        | "tunnel"
        | "tunneldevice"
        | "xauthlocation" => Kind::Unused(Form::Text),
        "addkeystoagent" | "canonicaldomains" | "ipqos" | "localforward" | "logverbose" | "permitremoteopen"
        | "rekeylimit" | "remoteforward" | "sendenv" | "setenv" => Kind::Unused(Form::Any),
        "protocol" | "useroaming" => Kind::Ignored,
        _ => return None,
    })
}

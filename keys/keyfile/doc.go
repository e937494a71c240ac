// Package keyfile keeps master keys in a keyring file: the keys, what each is for
// and since when, sealed as a whole under a passphrase, age identities or a KMS
// key. A file tells a running fleet which key to seal with, and it can be changed
// without a restart.
//
// A program that serves names the file and what opens it:
//
//	p, err := keyfile.Passphrase(text)
//	...
//	cache, err := secure.New(ctx, &secure.Options{Keyring: keyfile.Open("/etc/app/keyring.json", p, nil)})
//
// or leaves both to the environment with [FromEnv]. Package secure looks at the
// file every ten seconds. What it cannot use it reports, and keeps the keyring
// that it has.
//
// # Rotation
//
// A key goes one way: staged, current, demoted, retired, destroyed. [Update]
// applies the steps to a file:
//
//	err := keyfile.Update(ctx, path, p, func(d *keyfile.Document) error {
//		_, err := d.Stage(keys.Generate(), "2027", time.Now())
//		return err
//	})
//
// then, when every process has loaded that, Promote, and when no entry is left
// under the old key, Retire and Destroy. This package refuses what no file may
// say. It cannot know whether a deployment is complete or an entry is left:
// that is the operator's word.
//
// # How keys are handled
//
// Key bytes are in a Tink keyset inside the document, for the sake of a format
// that other tools read; Tink's PRF is never used, package keys derives. The
// bytes of a file and of its document are cleared after use; copies that Tink,
// age and package json make in between are not ours to clear. No type here
// prints a key or a passphrase. Nothing in an error is one.
//
// # What is refused
//
// To read: anything but a regular file of at most 1 MiB, owned by this user and
// closed to group and others; symbolic links (but see Options.Mounted); another
// protection than the program asks for; files that are cut short, tampered with
// (except under Cleartext), of a later version, or that contradict themselves;
// more than three decrypt-only keys. A running process also refuses to go back:
// see [Source.Keyring].
//
// To write: a path that exists, for Create; anything that is not read as above,
// for Update. A writer that is killed at any point leaves the old file or the
// new one. The directory must be writable: a lock file (.NAME.lock) stays in it.
// Windows and Plan 9 are not supported.
//
// # Compatibility
//
// docs/keyring-file.md describes the format for other SDKs. NewDocument imports
// the family's two variables and Document.Export writes them.
package keyfile

// Package strongauth is the language of the service that pushes to Microsoft Authenticator, the one behind the NPS extension
// and the AD FS adapter, here called the Connector: its requests, its answers in XML, and what they mean. It makes no call.
//
// Nothing but Success together with AuthenticationResult true, in one well-formed answer to End that names no other session
// and no other person, is an approval.
package strongauth

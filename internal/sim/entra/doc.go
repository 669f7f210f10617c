// Package entra stands in for Microsoft Entra as Countersign meets it: the login service, the MFA Connector behind NPS
// and AD FS, and the parts of Microsoft Graph that resolve a person, read methods, read the sign-in log and set up
// credentials. It imports nothing of this module and shares no code with the providers, so that a mistake made on both
// sides shows. It stands in for the service in tests and demonstrations; it protects nobody.
//
// A Server owns no listener, no goroutine and no clock: mount Login, Connector and Graph (or Handler, which tells them
// apart by path) on httptest servers or on in-memory listeners; under testing/synctest its few timers run in no time.
// How a host names itself (issuer, endpoints, nextLink, AffinityUrl) follows the request unless Options fix it.
//
// # Where the behaviour comes from
//
// D is documented by Microsoft or by a standard, C is seen in public code that talks to the real service, G is a guess.
// Nothing here was compared with a live tenant.
//
//	login
//	  v1 token endpoint with resource, numbers as strings               C
//	  v2 client_credentials with {resource}/.default, MSAL's extra scopes D
//	  client assertions: RS256 or PS256, x5t or x5t#S256, aud, exp, nbf  D; jti must be there G; repeats only with RefuseReplay G
//	  federated assertions by issuer, subject, audience                  D
//	  AADSTS codes and the error's members                               D; the sentences C, where long G
//	  a fresh credential is unknown for Options.Propagation              C
//	  v1 answers for both tenant names; instance discovery               D
//	authorize
//	  code flow, prompt, login_hint, response modes, single-use code     D
//	  the first attempt of its client spends a code, good or bad         G
//	  PKCE is demanded of every client, S256 only                        G (Entra demands it of public clients, and takes plain)
//	  max_age is passed over                                             D (not among the parameters)
//	  acrs in the claims parameter under access_token                    D; under id_token G
//	  auth_time, amr, acrs in the ID token without any set-up            G (optional claims there: use SignIn.Drop for a tenant without)
//	  prompt=login asks afresh; a browser with a session is not asked    D
//	Connector
//	  methods, paths, double slash, XML or text/xml, element order       C
//	  members out of order are passed over, as DataContract does         D
//	  no namespace on requests and answers                               C (adapters declare Namespace=""); see Namespaced and Prefixed
//	  bearer: aud, tid, appid of the MFA client; 401 without a body      G
//	  asynchronous Begin is Success with AuthenticationResult false      C for Success, G for false
//	  End is AuthenticationPending, AuthenticationResult nil, until settled C, nil G
//	  End's answer has neither SessionId nor UserPrincipalName           C
//	  prompt 60 s, PhoneAppNoResponse; session 3 min, InvalidSession     C, D
//	  a default method that is no push: Success and challenge, no prompt C, Value G
//	  no method, no default, other method: the values of the table       D
//	  a person who reported fraud: UserIsBlocked afterwards              G
//	  a second Begin sends a second prompt                               C
//	  ValidEntropyNumber 0                                               C
//	Graph
//	  entities, $select, $filter, $top, nextLink, errors, permissions    D
//	  sign-in log entries of NPS callers, with resourceId radius         D; correlationId is ContextId G
//	  keyCredentials are replaced by PATCH, key only under $select       D; entries without key are kept G
//	  addKey wants a proof of possession                                 D
//	  gzip request bodies                                                C
package entra

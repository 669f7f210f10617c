// A certified OpenID provider (panva's oidc-provider) on a free port of loopback, with one client and a sign-in page that
// works without JavaScript. It prints its issuer, and ends with its standard input. CLIENT is the client's metadata,
// PEOPLE maps what a person types to the claims that make them Entra's: oid, tid.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { Provider } = await import(pathToFileURL(createRequire(import.meta.url).resolve("oidc-provider")).href);
const people = JSON.parse(process.env.PEOPLE);
const server = createServer();
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [JSON.parse(process.env.CLIENT)],
  claims: { openid: ["sub", "amr", "auth_time"], profile: ["oid", "tid", "preferred_username"] },
  conformIdTokenClaims: false, // Entra, too, puts profile claims into the ID token
  enabledJWA: { clientAuthSigningAlgValues: ["PS256"], idTokenSigningAlgValues: ["RS256"] },
  features: { devInteractions: { enabled: false }, claimsParameter: { enabled: true } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  pkce: { required: () => true },
  findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id, preferred_username: id, ...people[id] }) },
  async loadExistingGrant(ctx) { // the organisation consented for everybody
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope("openid profile");
    await grant.save();
    return grant;
  },
});

const page = (hint) => `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sign in</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head><body><h1>Sign in</h1><form method="post">
<label>Account <input name="login" value="${hint.replace(/[^\w@.-]/g, "")}"></label>
<button name="factor" value="mfa">Password and phone</button><button name="factor" value="pwd">Password only</button>
<button name="factor" value="cancel">Cancel</button></form></body></html>`;

const read = async (req) => {
  let body = "";
  for await (const chunk of req) body += chunk;
  return new URLSearchParams(body);
};

async function interact(req, res) {
  const { params } = await provider.interactionDetails(req, res);
  if (req.method !== "POST") {
    res.setHeader("content-type", "text/html; charset=utf-8");
    return res.end(page(params.login_hint ?? ""));
  }
  const form = await read(req);
  if (form.get("factor") === "cancel") {
    return provider.interactionFinished(req, res, { error: "access_denied", error_description: "cancelled" });
  }
  const amr = form.get("factor") === "mfa" ? ["pwd", "mfa"] : ["pwd"];
  return provider.interactionFinished(req, res, { login: { accountId: form.get("login"), amr } });
}

const serve = provider.callback();
server.on("request", (req, res) => {
  if (!req.url.startsWith("/interaction/")) return serve(req, res);
  interact(req, res).catch((e) => {
    console.error(e);
    res.statusCode = 500;
    res.end();
  });
});
provider.on("server_error", (_, e) => console.error(e));
provider.on("grant.error", (_, e) => console.error(e.message, e.error_detail));
console.log(JSON.stringify({ issuer }));
process.stdin.on("end", () => process.exit(0)).resume();

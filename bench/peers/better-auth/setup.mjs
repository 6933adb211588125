// What is there before the first request: tables, one client, the users.
import { getMigrations } from 'better-auth/db/migration';

const CALLBACK = 'https://app.bench.example/callback';
const PASSWORD = 'correct horse battery';

export async function makeTables(options) {
  const { runMigrations } = await getMigrations(options);
  await runMigrations();
}

export async function makeClientAndUsers(auth, users) {
  const { internalAdapter, password } = await auth.$context;
  const email = (number) => `user${number}@bench.example`;
  if (await internalAdapter.findUserByEmail(email(0))) return;
  // One hash serves all, since making them is not what is measured; each sign-in still derives it.
  const hash = await password.hash(PASSWORD);
  for (let number = 0; number < users; number += 1) {
    const user = await internalAdapter.createUser({ email: email(number), name: `user${number}`, emailVerified: true });
    const userId = user.id;
    await internalAdapter.linkAccount({ userId, providerId: 'credential', accountId: userId, password: hash });
  }
  await makeClient(auth, email(0));
}

// A client is made by somebody who is signed in.
async function makeClient(auth, email) {
  const signedIn = await auth.api.signInEmail({ body: { email, password: PASSWORD }, returnHeaders: true });
  const cookie = signedIn.headers.getSetCookie().map((line) => line.split(';')[0]).join('; ');
  await auth.api.adminCreateOAuthClient({
    headers: new Headers({ cookie }),
    body: {
      client_name: 'bench',
      redirect_uris: [CALLBACK],
      token_endpoint_auth_method: 'none',
      application_type: 'web',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      scope: 'offline_access api:read',
      skip_consent: true,
    },
  });
}

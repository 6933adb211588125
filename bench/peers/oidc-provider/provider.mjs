// oidc-provider as an application would set it up that wants access tokens its APIs verify by themselves.
import { errors, Provider } from 'oidc-provider';

import { adapterOn } from './adapter.mjs';

const RESOURCE = 'urn:bench:api';
const SCOPE = 'api:read offline_access';
const DAY = 24 * 60 * 60;

export function makeProvider({ issuer, database, accounts, secrets }) {
  const provider = new Provider(issuer, {
    adapter: adapterOn(database),
    clients: [
      {
        client_id: 'bench',
        token_endpoint_auth_method: 'none',
        grant_types: ['password', 'refresh_token'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    jwks: { keys: [secrets.key] },
    cookies: { keys: [secrets.cookies] },
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    rotateRefreshToken: true,
    ttl: { AccessToken: 15 * 60, Grant: 30 * DAY, RefreshToken: 30 * DAY },
    findAccount: (_ctx, id) => accounts.find(id),
    features: {
      devInteractions: { enabled: false },
      // With an audience the access token is a JWT, which is signed and not stored.
      resourceIndicators: {
        enabled: true,
        defaultResource: () => RESOURCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'api:read',
          audience: RESOURCE,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
  });
  // Only for signing in: the library leaves accounts and passwords to the application, and lets it add grants.
  const parameters = ['username', 'password'];
  provider.registerGrantType('password', (ctx) => signIn(provider, accounts, ctx), parameters);
  provider.on('server_error', (_ctx, error) => console.error(error));
  return provider;
}

async function signIn(provider, accounts, ctx) {
  const { client, params } = ctx.oidc;
  const account = await accounts.verified(params.username, params.password);
  if (!account) throw new errors.InvalidGrant('wrong user name or password');

  const grant = new provider.Grant({ accountId: account.accountId, clientId: client.clientId });
  grant.addOIDCScope('offline_access');
  grant.addResourceScope(RESOURCE, 'api:read');
  const grantId = await grant.save();

  const shared = { accountId: account.accountId, client, grantId, gty: 'password', scope: SCOPE };
  const access = new provider.AccessToken({ ...shared, scope: 'api:read' });
  access.resourceServer = new provider.ResourceServer(RESOURCE, {
    scope: 'api:read',
    audience: RESOURCE,
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg: 'ES256' } },
  });
  const refresh = new provider.RefreshToken({ ...shared, resource: RESOURCE, rotations: 0 });
  ctx.body = {
    access_token: await access.save(),
    expires_in: access.expiration,
    token_type: 'Bearer',
    refresh_token: await refresh.save(),
    scope: access.scope,
  };
}

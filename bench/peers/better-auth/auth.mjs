// better-auth as an authorization server that rotates refresh tokens and signs its access tokens.
import { oauthProvider } from '@better-auth/oauth-provider';
import { jwt } from 'better-auth/plugins';

export const CLIENT = 'bench';
export const RESOURCE = 'https://api.bench.example';

export function optionsFor({ database, port, secret }) {
  return {
    appName: 'bench',
    baseURL: `http://127.0.0.1:${port}`,
    secret,
    database,
    // This path of the JWT plugin answers with the session's token; as an authorization server it is to be off.
    disabledPaths: ['/token'],
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    logger: { level: 'error' },
    plugins: [
      jwt({ disableSettingJwtHeader: true, jwks: { keyPairConfig: { alg: 'ES256' } } }),
      oauthProvider({
        loginPage: '/sign-in',
        consentPage: '/consent',
        scopes: ['offline_access', 'api:read'],
        accessTokenExpiresIn: 15 * 60,
        refreshTokenExpiresIn: 30 * 24 * 60 * 60,
        resources: [{ identifier: RESOURCE, allowedScopes: ['offline_access', 'api:read'] }],
        enforcePerClientResources: false,
        // Neither changes while it runs, so it need not look them up at each request.
        cachedResources: new Set([RESOURCE]),
        cachedTrustedClients: new Set([CLIENT]),
        generateClientId: () => CLIENT,
        silenceWarnings: { oauthAuthServerConfig: true, openidConfig: true },
      }),
    ],
  };
}

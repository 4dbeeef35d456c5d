// A real identity provider on its own port. It accepts any login.

import { createServer } from 'node:http';
import Provider from 'oidc-provider';

export interface IdentityProvider {
	issuer: string;
	clientId: string;
	clientSecret: string;
	close(): Promise<void>;
}

/** Starts a provider that knows PiCloud, and sends browsers back to `redirectUrl`. */
export async function startProvider(redirectUrl: string): Promise<IdentityProvider> {
	const server = createServer();
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
	const address = server.address();
	if (typeof address !== 'object' || !address) throw new Error('the provider has no port');
	const issuer = `http://127.0.0.1:${address.port}`;
	const [clientId, clientSecret] = ['picloud', 'secret of the tests'.replaceAll(' ', '-')];
	const provider = new Provider(issuer, {
		clients: [
			{
				client_id: clientId,
				client_secret: clientSecret,
				redirect_uris: [redirectUrl],
				response_types: ['code'],
				grant_types: ['authorization_code']
			}
		],
		claims: { openid: ['sub'], profile: ['preferred_username'] },
		conformIdTokenClaims: false,
		findAccount: (_, id) => ({
			accountId: id,
			claims: () => ({ sub: id, preferred_username: id })
		}),
		pkce: { required: () => true },
		cookies: { keys: ['a key of the tests'] },
		features: { devInteractions: { enabled: true } }
	});
	server.on('request', provider.callback());
	return {
		issuer,
		clientId,
		clientSecret,
		close: () =>
			new Promise((resolve) => {
				server.close(() => resolve());
				server.closeAllConnections();
			})
	};
}

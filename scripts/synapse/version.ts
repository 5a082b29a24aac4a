/** The Synapse that everything here is written and measured against. */
export const synapseVersion = '1.160.0';

const { mainJob } = require('./main-job.cjs');

test('the main job', async () => {
  const [main, testing] = [require('matrix-client-manager'), require('matrix-client-manager/testing')];
  await expect(mainJob(main, testing, `${__dirname}/jest.db`)).resolves.toEqual({
    received: true,
    paged: true,
    ownError: 'INVALID_USER_ID',
  });
}, 60_000);

<?php
// Says how Composer orders versions: `ONE<tab>OTHER` lines in; `<`, `=`, `>` lines out, `?` where one of the two
// is no version. Branches are none for us: they have no place among versions.
require '/usr/share/php/Composer/Semver/autoload.php';
use Composer\Semver\Comparator;
use Composer\Semver\VersionParser;

$parser = new VersionParser();
while (($line = fgets(STDIN)) !== false) {
    try {
        [$one, $other] = array_map(
            function (string $text) use ($parser): string {
                $normal = $parser->normalize($text);
                if (str_starts_with($normal, 'dev-') || str_contains($normal, '9999999')) {
                    throw new UnexpectedValueException('a branch');
                }
                return $normal;
            },
            explode("\t", rtrim($line, "\n"))
        );
        if (Comparator::lessThan($one, $other)) {
            echo "<\n";
        } else {
            echo Comparator::greaterThan($one, $other) ? ">\n" : "=\n";
        }
    } catch (UnexpectedValueException) {
        echo "?\n";
    }
}

# Says how RubyGems orders versions: `ONE<tab>OTHER` lines in; `<`, `=`, `>` lines out, `?` where one of the
# two is no version.
STDIN.each_line(chomp: true) do |line|
  one, other = line.split("\t", -1).map { |text| Gem::Version.new(text) }
  puts "<=>"[(one <=> other) + 1]
rescue ArgumentError
  puts "?"
end
